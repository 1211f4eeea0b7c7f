// Package pipeline is for writing pipelines in Go. Steps are plain functions;
// a pipeline connects them; Main runs it on the active stack.
//
//	func double(ctx context.Context, n int) (int, error) { return 2 * n, nil }
//
//	var Double = pipeline.Fn1("double", double, "n")
//
//	type Params struct {
//		N int `default:"21" doc:"number to double"`
//	}
//
//	func main() {
//		pipeline.Main(pipeline.New("hello", func(b *pipeline.B, p Params) {
//			Double.Do(b, pipeline.Lit(p.N), pipeline.Artifact("answer"))
//		}))
//	}
//
// # Steps
//
// A step is a function of a context and up to five inputs. Fn0 to Fn5 make
// steps with a result, Proc0 to Proc5 those without. The compiler checks the
// connections: an input of type T takes a Ref[T], which Do gives for another
// step's result, or a value by Lit. Tests call the functions directly.
//
// # Results
//
// A result is stored as an artifact: []byte, string and Markdown as they are, a
// Table as CSV, an image.Image as PNG, a File or Folder as what it names, all
// else as JSON. A type that would not come back as it was, such as a struct
// with unexported fields, is refused before anything runs. A struct result is
// several outputs where Field refers to one of its fields, where a field has
// the tag artifact:"NAME", or where a field is a Table, image, File or Folder.
package pipeline
