package launch

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/emptypb"

	commonv1 "github.com/cairn-stack/cairn/proto/cairn/plugin/common/v1"
	"github.com/cairn-stack/cairn/sdk/wire"
)

// envMode makes the test binary a plugin of some kind.
const envMode = "CAIRN_TEST_PLUGIN"

func TestMain(m *testing.M) {
	mode := os.Getenv(envMode)
	if mode == "" {
		os.Exit(m.Run())
	}
	bePlugin(mode)
}

// bePlugin is a plugin without any SDK: what an author in another language
// writes, and what a hostile one does.
func bePlugin(mode string) {
	const good = "1|1|unix|" + wire.InheritedAddress + "|grpc\n"
	switch mode {
	case "silent":
		hang()
	case "exit":
		fmt.Fprintln(os.Stderr, "[ERROR] no licence found")
		os.Exit(3)
	case "close-stdout":
		os.Stdout.Close()
		hang()
	case "garbage":
		fmt.Println("hello from a program that is no plugin")
		hang()
	case "giant-line":
		for {
			if _, err := os.Stdout.WriteString(strings.Repeat("x", 1<<16)); err != nil {
				os.Exit(1)
			}
		}
	case "binary":
		os.Stdout.Write([]byte{0x1b, '[', '2', 'J', 0, 0xff, '\n'})
		hang()
	case "certificate":
		fmt.Println("1|1|unix|inherited|grpc|" + strings.Repeat("A", 80))
		hang()
	case "tcp":
		fmt.Println("1|1|tcp|127.0.0.1:1234|grpc")
		hang()
	case "outside":
		fmt.Println("1|1|unix|/tmp/somebody-elses.sock|grpc")
		hang()
	case "newer":
		fmt.Println("1|2|unix|inherited|grpc")
		hang()
	case "no-server":
		fmt.Print(good)
		hang()
	case "hang-up":
		syscall.Close(channelFD)
		fmt.Print(good)
		hang()
	case "stop-early":
		syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	case "stderr-flood":
		go flood()
	case "bad-json":
		fmt.Fprintln(os.Stderr, `{"@message":1}`)
		fmt.Fprintln(os.Stderr, `{"@level":[],"@message":"x","@timestamp":7}`)
		fmt.Fprintln(os.Stderr, `{"@level":"warn","@message":"disk nearly full","@module":"m","free":12,"path":{"a":[1]}}`)
		fmt.Fprintln(os.Stderr, strings.Repeat("[", 15000))
		fmt.Fprintf(os.Stderr, "\x1b[31mred\x00\xff\n")
		fmt.Fprintln(os.Stderr, "panic: boom")
		fmt.Fprintln(os.Stderr, "goroutine 1 [running]:")
	case "stdout-flood":
		fmt.Print(good)
		go func() {
			for {
				os.Stdout.WriteString(strings.Repeat("y", 100000))
			}
		}()
	case "grandchild":
		// It holds the pipes and the channel, and ignores polite requests.
		cmd := exec.Command(os.Args[0])
		cmd.Env = []string{envMode + "=silent"}
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.ExtraFiles = []*os.File{os.NewFile(channelFD, "channel")}
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		fmt.Fprintln(os.Stderr, "grandchild", cmd.Process.Pid)
	case "stubborn":
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
	}
	serve(good, mode)
}

// hang waits to be killed.
func hang() { time.Sleep(time.Hour) }

func flood() {
	w := bufio.NewWriter(os.Stderr)
	for i := 0; ; i++ {
		fmt.Fprintf(w, "{\"@message\":\"line\",\"@level\":\"info\",\"n\":%d}\n", i)
	}
}

func serve(line, mode string) {
	fd, err := strconv.Atoi(os.Getenv(wire.EnvChannelFD))
	if err != nil {
		panic(err)
	}
	syscall.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "channel")
	conn, err := net.FileConn(f)
	if err != nil {
		panic(err)
	}
	f.Close()
	server := grpc.NewServer(wire.ServerOptions()...)
	h := health.NewServer()
	h.SetServingStatus(wire.HealthService, grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(server, h)
	commonv1.RegisterPluginServiceServer(server, &service{mode: mode})
	if mode != "stubborn" {
		registerController(server)
	}
	l := &oneConn{conn: conn, closed: make(chan struct{})}
	if mode != "stdout-flood" {
		fmt.Print(line)
	}
	server.Serve(l)
	if mode == "stubborn" {
		hang()
	}
	syscall.Exit(0) // os.Exit takes a second under the race detector
}

// registerController is go-plugin's Shutdown.
func registerController(s *grpc.Server) {
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "plugin.GRPCController", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Shutdown",
			Handler: func(_ any, _ context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				defer func() { go s.Stop() }()
				return &emptypb.Empty{}, dec(&emptypb.Empty{})
			},
		}},
	}, struct{}{})
}

type service struct {
	commonv1.UnimplementedPluginServiceServer
	mode string
}

func (s *service) Describe(ctx context.Context, _ *commonv1.DescribeRequest) (*commonv1.DescribeResponse, error) {
	d := wire.Description{
		Name: "test", Version: "1.2.3", SDK: "none/1", Channels: []wire.Channel{wire.ChannelInherited},
		Flavors: []wire.Flavor{{
			Type: "orchestrator", Name: "test", Majors: []int{1}, SchemaVersion: 1, ConfigSchema: []byte(`{}`),
			Env: os.Environ(),
		}},
	}
	d.Flavors[0].Env = nil
	d.Flavors[0].Summary = environment()
	return wire.DescriptionToProto(d), nil
}

// Check misbehaves.
func (s *service) Check(ctx context.Context, _ *commonv1.CheckRequest) (*commonv1.CheckResponse, error) {
	switch s.mode {
	case "die":
		fmt.Fprintln(os.Stderr, "[ERROR] about to die")
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "stop-late":
		syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// environment says what the process was given.
func environment() string {
	var names []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		names = append(names, name)
	}
	stdin, _ := os.Readlink("/proc/self/fd/0")
	wd, _ := os.Getwd()
	return fmt.Sprintf("%s|%s|%s|%d", strings.Join(names, ","), stdin, wd, syscall.Getpgrp()-os.Getpid())
}

// oneConn is a listener that gives one connection.
type oneConn struct {
	conn   net.Conn
	given  bool
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if !l.given {
		l.given = true
		return l.conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{Name: "inherited", Net: "unix"} }
