package home

import (
	"bufio"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// networkMagics are file systems whose files are on other machines, by the
// magic number that statfs gives. 9p is not one of them: containers and virtual
// machines reach their own host by it, and so are local.
func networkMagics(magic uint32) string {
	switch magic {
	case 0x6969:
		return "nfs"
	case 0x517b, 0xfe534d42, 0xff534d42:
		return "smb"
	case 0x0bd00bd0:
		return "lustre"
	case 0x00c36400:
		return "ceph"
	case 0x5346414f, 0x6b414653:
		return "afs"
	case 0x73757245:
		return "coda"
	case 0x47504653:
		return "gpfs"
	case 0x19830326:
		return "beegfs"
	case 0xaad7aaea:
		return "panfs"
	}
	return ""
}

// networkFUSE are the FUSE file systems that reach over a network, as
// /proc/self/mountinfo names them.
func networkFUSE(fsType string) bool {
	switch fsType {
	case "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.goofys", "fuse.mount-s3", "fuse.rclone", "fuse.glusterfs",
		"fuse.ceph-fuse", "fuse.ceph", "fuse.juicefs", "fuse.JuiceFS", "fuse.seaweedfs", "fuse.blobfuse", "fuse.blobfuse2",
		"fuse.davfs", "fuse.curlftpfs", "fuse.moosefs", "fuse.mfs", "fuse.dfs":
		return true
	}
	return false
}

// networkFileSystem names the network file system that a path is on; empty
// where it is on none, or the system does not say.
func networkFileSystem(path string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return ""
	}
	const fuse = 0x65735546
	magic := uint32(st.Type)
	if magic != fuse {
		return networkMagics(magic)
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	var lines []string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		lines = append(lines, sc.Text())
	}
	if fsType := mountType(lines, path); networkFUSE(fsType) {
		return fsType
	}
	return ""
}

// mountType is the type of the mount that a path is in: of the mount points
// that lead to it, the longest, and of those the last.
func mountType(mountinfo []string, path string) string {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	best, fsType := -1, ""
	for _, line := range mountinfo {
		before, after, ok := strings.Cut(line, " - ")
		fields, typed := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(typed) < 1 {
			continue
		}
		point := unescape.Replace(fields[4])
		if within(path, point) && len(point) >= best {
			best, fsType = len(point), typed[0]
		}
	}
	return fsType
}

func within(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}
