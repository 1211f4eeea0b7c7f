package plugin

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// Source is a content to be stored: a file, or bytes. It is not safe for
// concurrent use, except for ReadAt.
type Source struct {
	file   *os.File // nil for bytes
	before fs.FileInfo
	bytes  []byte
	reader io.ReadSeeker
}

func sourceOfBytes(data []byte) *Source {
	return &Source{bytes: data, reader: bytes.NewReader(data)}
}

func sourceOfFile(f *os.File) (*Source, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return &Source{file: f, before: info, reader: f}, nil
}

// Read reads on. At the end of a file that changed since it was opened it fails
// with diag.ErrPreconditionFailed instead of io.EOF.
func (s *Source) Read(p []byte) (int, error) {
	n, err := s.reader.Read(p)
	if err == io.EOF {
		if cerr := s.Check(); cerr != nil {
			return n, cerr
		}
	}
	return n, err
}

// Seek sets where the next Read begins.
func (s *Source) Seek(offset int64, whence int) (int64, error) {
	return s.reader.Seek(offset, whence)
}

// ReadAt reads at an offset. Call Check when all is read.
func (s *Source) ReadAt(p []byte, off int64) (int, error) {
	if s.file == nil {
		return bytes.NewReader(s.bytes).ReadAt(p, off)
	}
	return s.file.ReadAt(p, off)
}

// File is the open file, for what can be done with no other reader; nil where
// the content is bytes. Call Check when all is read.
func (s *Source) File() *os.File { return s.file }

// Check fails with diag.ErrPreconditionFailed where the file changed since it
// was opened.
func (s *Source) Check() error {
	if s.file == nil {
		return nil
	}
	now, err := s.file.Stat()
	if err != nil {
		return err
	}
	if now.Size() != s.before.Size() || !now.ModTime().Equal(s.before.ModTime()) {
		return fmt.Errorf("%s changed while it was stored: %w", s.file.Name(), diag.ErrPreconditionFailed)
	}
	return nil
}

// size is the content's length as it was opened.
func (s *Source) size() int64 {
	if s.file == nil {
		return int64(len(s.bytes))
	}
	return s.before.Size()
}
