package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"reflect"

	stepv1 "github.com/cairn-stack/cairn/proto/cairn/step/v1"
)

// Media types of what cairn stores.
const (
	mediaJSON     = "application/json"
	mediaBytes    = "application/octet-stream"
	mediaText     = "text/plain; charset=utf-8"
	mediaMarkdown = "text/markdown; charset=utf-8"
	mediaCSV      = "text/csv; charset=utf-8"
	mediaPNG      = "image/png"
	mediaFolder   = "inode/directory"
)

// Markdown is text for people, shown formatted where that is possible.
type Markdown string

// File is a file as a step's result or input. As a result, the path is that of
// a file that the step wrote, best in its scratch directory: from there it is
// moved, from elsewhere copied. As an input, the file is read-only and is not
// to be changed.
type File struct{ Path string }

// Folder is a folder with all files below it; as File otherwise.
type Folder struct{ Path string }

// content is a value on its way into or out of a store: bytes, or a path.
type content struct {
	inline   []byte
	path     string
	tree     bool
	metadata map[string]string // JSON by name
}

// bytes gives what a file or an inline value holds.
func (c content) bytes() ([]byte, error) {
	if c.path == "" {
		return c.inline, nil
	}
	if c.tree {
		return nil, errors.New("it is a folder, not a file")
	}
	return os.ReadFile(c.path)
}

// codec stores values of one Go type.
type codec struct {
	media  string
	encode func(v reflect.Value) (content, error)
	// decode sets v. scratch gives a directory for it to write to.
	decode func(c content, v reflect.Value, scratch func() (string, error)) error
}

func (c codec) typeOf(t reflect.Type) *stepv1.Type {
	return &stepv1.Type{MediaType: c.media, LanguageType: t.String()}
}

var (
	typeFile     = reflect.TypeFor[File]()
	typeFolder   = reflect.TypeFor[Folder]()
	typeTable    = reflect.TypeFor[Table]()
	typeMarkdown = reflect.TypeFor[Markdown]()
	typeImage    = reflect.TypeFor[image.Image]()
)

// isContentType reports whether values of a type are files of their own, and
// never stand inside JSON.
func isContentType(t reflect.Type) bool {
	return t == typeFile || t == typeFolder || t == typeTable || t == typeImage
}

// codecOf gives the codec of a type; otherwise why it has none. The path says
// where the type stands, for the error.
func codecOf(t reflect.Type, path string) (codec, error) {
	switch {
	case t == typeFile:
		return codec{mediaBytes, encodeFile, decodeFile}, nil
	case t == typeFolder:
		return codec{mediaFolder, encodeFolder, decodeFolder}, nil
	case t == typeTable:
		return codec{mediaCSV, encodeTable, decodeTable}, nil
	case t == typeImage:
		return codec{mediaPNG, encodeImage, decodeImage}, nil
	case t == typeMarkdown:
		return codec{mediaMarkdown, encodeText, decodeText}, nil
	case t.Kind() == reflect.String && !hasOwnJSON(t):
		return codec{mediaText, encodeText, decodeText}, nil
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 && !hasOwnJSON(t):
		return codec{mediaBytes, encodeBytes, decodeBytes}, nil
	}
	if err := checkJSONType(t, path, map[reflect.Type]bool{}); err != nil {
		return codec{}, err
	}
	return codec{mediaJSON, encodeJSON, decodeJSON}, nil
}

func encodeText(v reflect.Value) (content, error) { return content{inline: []byte(v.String())}, nil }

func decodeText(c content, v reflect.Value, _ func() (string, error)) error {
	data, err := c.bytes()
	v.SetString(string(data))
	return err
}

func encodeBytes(v reflect.Value) (content, error) { return content{inline: v.Bytes()}, nil }

func decodeBytes(c content, v reflect.Value, _ func() (string, error)) error {
	data, err := c.bytes()
	v.SetBytes(data)
	return err
}

func encodeJSON(v reflect.Value) (content, error) {
	data, err := toJSON(v)
	return content{inline: data}, err
}

func decodeJSON(c content, v reflect.Value, _ func() (string, error)) error {
	data, err := c.bytes()
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v.Addr().Interface())
}

func encodeFile(v reflect.Value) (content, error) {
	path, info, err := statOutput(v.Interface().(File).Path)
	if err != nil {
		return content{}, err
	}
	if !info.Mode().IsRegular() {
		return content{}, fmt.Errorf("%s is not a regular file", path)
	}
	return content{path: path, metadata: map[string]string{"filename": string(mustJSON(filepath.Base(path)))}}, nil
}

func encodeFolder(v reflect.Value) (content, error) {
	path, info, err := statOutput(v.Interface().(Folder).Path)
	if err != nil {
		return content{}, err
	}
	if !info.IsDir() {
		return content{}, fmt.Errorf("%s is not a folder", path)
	}
	return content{path: path, tree: true}, nil
}

func statOutput(path string) (string, os.FileInfo, error) {
	if path == "" {
		return "", nil, errors.New("its Path is empty")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", nil, err
	}
	info, err := os.Lstat(abs)
	return abs, info, err
}

func decodeFile(c content, v reflect.Value, scratch func() (string, error)) error {
	if c.tree {
		return errors.New("it is a folder, not a file")
	}
	if c.path == "" {
		dir, err := scratch()
		if err != nil {
			return err
		}
		name := "input"
		var stored string
		if json.Unmarshal([]byte(c.metadata["filename"]), &stored) == nil && filepath.IsLocal(stored) && filepath.Base(stored) == stored {
			name = stored
		}
		sub, err := os.MkdirTemp(dir, "input-*")
		if err != nil {
			return err
		}
		c.path = filepath.Join(sub, name)
		if err := os.WriteFile(c.path, c.inline, 0o400); err != nil {
			return err
		}
	}
	v.Set(reflect.ValueOf(File{Path: c.path}))
	return nil
}

func decodeFolder(c content, v reflect.Value, _ func() (string, error)) error {
	if c.path == "" || !c.tree {
		return errors.New("it is a file, not a folder")
	}
	v.Set(reflect.ValueOf(Folder{Path: c.path}))
	return nil
}

// mustJSON is the JSON of a value that always has one: text, numbers, and what
// is made of them.
func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
