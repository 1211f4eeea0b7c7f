//go:build linux

package main

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/cairn-stack/cairn/host/api"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
)

// openTerminal gives both ends of a terminal: what a person holds, and what a
// program sees.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

// screen is what a person sees, and types on when it shows what they wait for.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func watchScreen(person *os.File) *screen {
	s := &screen{more: make(chan struct{}, 1)}
	go func() {
		buf := make([]byte, 1024)
		for {
			n, err := person.Read(buf)
			s.mu.Lock()
			s.text.Write(buf[:n])
			s.mu.Unlock()
			select {
			case s.more <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	return s
}

func (s *screen) shows() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *screen) await(t *testing.T, want string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for !strings.Contains(s.shows(), want) {
		select {
		case <-s.more:
		case <-deadline:
			t.Errorf("the terminal never showed %q, but %q", want, s.shows())
			return
		}
	}
}

// onTerminal carries out a command line on a terminal; the person answers.
func (f *fakeHost) onTerminal(t *testing.T, answer func(*screen, *os.File), args ...string) (string, int) {
	t.Helper()
	person, program := openTerminal(t)
	s := watchScreen(person)
	ended := make(chan int)
	go func() {
		c := &cli{
			stdin: program, stdout: program, stderr: program, now: func() time.Time { return testTime(90) },
			open: func(context.Context) (api.Service, func() error, error) { return f, func() error { return nil }, nil },
		}
		ended <- c.execute(t.Context(), args)
	}()
	answer(s, person)
	select {
	case code := <-ended:
		return s.shows(), code
	case <-time.After(10 * time.Second):
		t.Fatalf("it does not end; the terminal shows %q", s.shows())
		return "", 0
	}
}

func typeText(t *testing.T, person *os.File, text string) {
	t.Helper()
	if _, err := person.WriteString(text); err != nil {
		t.Error(err)
	}
}

func TestASecretIsAskedForWithoutEcho(t *testing.T) {
	var got map[string]string
	f := &fakeHost{createSecret: func(r *apiv1.CreateSecretRequest) (*apiv1.CreateSecretResponse, error) {
		got = r.GetValues()
		return &apiv1.CreateSecretResponse{Secret: &apiv1.Secret{Name: "s3", Keys: []string{"access"}}}, nil
	}}
	shown, code := f.onTerminal(t, func(s *screen, person *os.File) {
		for key, value := range map[string]string{"access": "hunter1"} {
			s.await(t, "Value of "+key+": ")
			awaitNoEcho(t, person)
			typeText(t, person, value+"\n")
		}
	}, "secret", "create", "s3", "access")
	if diff := cmp.Diff(map[string]string{"access": "hunter1"}, got); diff != "" || code != 0 {
		t.Errorf("exit code %d, %s, the terminal shows %q", code, diff, shown)
	}
	if strings.Contains(shown, "hunter1") {
		t.Errorf("the value was shown: %q", shown)
	}
}

// awaitNoEcho waits until the terminal shows no longer what is typed.
func awaitNoEcho(t *testing.T, person *os.File) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; <-time.After(time.Millisecond) {
		state, err := unix.IoctlGetTermios(int(person.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if state.Lflag&unix.ECHO == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the terminal goes on showing what is typed")
		}
	}
}

func TestConfirmationOnATerminal(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	for answer, want := range map[string]int{"y\n": 0, "yes\n": 0, "n\n": 4, "\n": 4} {
		deleted := false
		f := &fakeHost{deleteStack: func(r *apiv1.DeleteStackRequest) (*apiv1.DeleteStackResponse, error) {
			deleted = deleted || !r.GetDryRun()
			return &apiv1.DeleteStackResponse{}, nil
		}}
		shown, code := f.onTerminal(t, func(s *screen, person *os.File) {
			s.await(t, "This will delete stack mine. Go on? [y/N] ")
			typeText(t, person, answer)
		}, "stack", "delete", "mine")
		if code != want || deleted != (want == 0) {
			t.Errorf("%q: exit code %d, deleted %v: %s", answer, code, deleted, shown)
		}
	}
}

func TestRunWatchIsLiveOnATerminal(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	shown, code := endingRun("completed", nil).onTerminal(t, func(s *screen, _ *os.File) {
		s.await(t, "Run training-3 is completed.")
	}, "run", "watch", "latest")
	if code != 0 || !strings.Contains(shown, "train  running") || !strings.Contains(shown, "\x1b[3A\x1b[J") {
		t.Errorf("exit code %d, the terminal shows %q", code, shown)
	}
}
