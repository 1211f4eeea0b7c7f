package pluginhost

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// identityOf tells what an opened file is, without reading it.
func identityOf(f *os.File) (model.FileIdentity, error) {
	info, err := f.Stat()
	if err != nil {
		return model.FileIdentity{}, fmt.Errorf("look at the plugin: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return model.FileIdentity{}, fmt.Errorf("look at the plugin: the system tells no file identity")
	}
	return model.FileIdentity{
		Device: uint64(st.Dev), Inode: st.Ino, Size: info.Size(),
		MtimeNS: info.ModTime().UnixNano(), CtimeNS: changeTime(st),
	}, nil
}

// checkOwner refuses a file that somebody else could replace: it, and each
// directory above it, belong to us or root and are written by nobody else. A
// directory with the sticky bit may be written by others, since they cannot
// touch our entries in it.
func checkOwner(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return fmt.Errorf("resolve %s: %w", path, err)
	}
	for _, start := range []string{path, real} {
		for at := filepath.Clean(start); ; at = filepath.Dir(at) {
			if err := checkOneOwner(at); err != nil {
				return err
			}
			if at == filepath.Dir(at) {
				break
			}
		}
		if real == path {
			break
		}
	}
	return nil
}

func checkOneOwner(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if st.Uid != 0 && int(st.Uid) != os.Getuid() {
		return diag.Errorf(diag.Plugin, "%s belongs to another user", path).
			WithHint("run 'chown %d %s', or move the plugin to a directory of yours", os.Getuid(), path)
	}
	mode := info.Mode()
	if mode&fs.ModeSymlink != 0 || mode.IsDir() && mode&fs.ModeSticky != 0 {
		return nil
	}
	others := mode.Perm() & 0o022
	if st.Gid == st.Uid {
		// A group of the owner's own, as systems with umask 002 have it.
		others &= 0o002
	}
	if others != 0 {
		return diag.Errorf(diag.Plugin, "%s can be written by others", path).
			WithHint("run 'chmod go-w %s'", path)
	}
	return nil
}
