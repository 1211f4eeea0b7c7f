package home

import (
	"strings"
	"testing"
)

func TestNetworkFileSystems(t *testing.T) {
	t.Parallel()
	for magic, want := range map[uint32]string{0x6969: "nfs", 0xff534d42: "smb", 0x0bd00bd0: "lustre", 0xef53: "", 0x01021997: "", 0x01021994: ""} {
		if got := networkMagics(magic); got != want {
			t.Errorf("%#x is %q, want %q", magic, got, want)
		}
	}
	mounts := strings.Split(`22 1 0:21 / / rw - ext4 /dev/vda rw
30 22 0:40 / /mnt/far rw - fuse.sshfs me@far: rw
31 22 0:41 / /mnt/near rw,nosuid shared:1 - fuse.fuse-overlayfs x rw
32 30 0:42 / /mnt/far/local rw - ext4 /dev/vdb rw
33 22 0:43 / /mnt/with\040space rw - fuse.rclone x rw`, "\n")
	for path, want := range map[string]bool{"/mnt/far": true, "/mnt/far/a/b": true, "/mnt/farther": false, "/mnt/near/a": false,
		"/mnt/far/local/home": false, "/mnt/with space/x": true, "/home": false} {
		if got := networkFUSE(mountType(mounts, path)); got != want {
			t.Errorf("%s is on a network: %v, want %v", path, got, want)
		}
	}
	if name := networkFileSystem(t.TempDir()); name != "" {
		t.Errorf("the temporary directory counts as %s", name)
	}
	if err := onNetwork("/mnt/far", "nfs"); !strings.Contains(err.Error(), "nfs") {
		t.Errorf("the refusal is %v", err)
	}
}
