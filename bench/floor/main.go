// Command floor is the least that a process of cairn's shape could cost: it
// opens a database, starts two plain go-plugin processes side by side, lets one
// schedule two empty steps over a stream, has the other store an artifact for
// each, commits ten times, stops the plugins and ends. Nothing is verified,
// supervised or described. The benchmarks divide by it.
//
//	floor run DB DIR       the whole process
//	floor commits DB DIR N N times: one artifact with fsync, one commit, FULL
//	floor plugin           one of the plugins (started by run)
package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
	_ "modernc.org/sqlite"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "plugin":
		goplugin.Serve(&goplugin.ServeConfig{
			HandshakeConfig: handshake,
			Plugins:         goplugin.PluginSet{"floor": &floorPlugin{}},
			GRPCServer:      goplugin.DefaultGRPCServer,
			Logger:          hclog.NewNullLogger(),
		})
		return nil
	case len(args) == 3 && args[0] == "run":
		return wholeRun(args[1], args[2])
	case len(args) == 4 && args[0] == "commits":
		n, err := strconv.Atoi(args[3])
		if err != nil {
			return err
		}
		return commits(args[1], args[2], n)
	}
	return fmt.Errorf("usage: floor run DB DIR | floor commits DB DIR N | floor plugin")
}

var handshake = goplugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "FLOOR", MagicCookieValue: "floor"}

func wholeRun(db, dir string) error {
	j, err := openJournal(db)
	if err != nil {
		return err
	}
	defer j.Close()
	var scheduler, store *goplugin.Client
	var schedulerConn, storeConn *grpc.ClientConn
	var g errgroup.Group
	g.Go(func() (err error) { scheduler, schedulerConn, err = launch(); return err })
	g.Go(func() (err error) { store, storeConn, err = launch(); return err })
	if err := g.Wait(); err != nil {
		return err
	}
	stream, err := schedulerConn.NewStream(context.Background(), &serviceDesc.Streams[0], "/floor.Floor/Schedule")
	if err != nil {
		return err
	}
	commit := func(n int) error {
		for range n {
			if err := j.commit("floor"); err != nil {
				return err
			}
		}
		return nil
	}
	if err := commit(2); err != nil {
		return err
	}
	for i := range 2 {
		if err := stream.SendMsg(wrapperspb.Bytes([]byte("step"))); err != nil {
			return err
		}
		if err := stream.RecvMsg(&wrapperspb.BytesValue{}); err != nil {
			return err
		}
		path := filepath.Join(dir, fmt.Sprintf("%d-%d", os.Getpid(), i))
		if err := storeConn.Invoke(context.Background(), "/floor.Floor/Put", wrapperspb.Bytes([]byte(path)), &wrapperspb.BytesValue{}); err != nil {
			return err
		}
		if err := commit(4); err != nil {
			return err
		}
	}
	scheduler.Kill()
	store.Kill()
	return nil
}

func launch() (*goplugin.Client, *grpc.ClientConn, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	c := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  handshake,
		Plugins:          goplugin.PluginSet{"floor": &floorPlugin{}},
		Cmd:              exec.Command(self, "plugin"),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
	})
	rpc, err := c.Client()
	if err != nil {
		return nil, nil, err
	}
	conn, err := rpc.Dispense("floor")
	if err != nil {
		return nil, nil, err
	}
	return c, conn.(*grpc.ClientConn), nil
}

type floorPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (*floorPlugin) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	s.RegisterService(&serviceDesc, &server{})
	return nil
}

func (*floorPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return c, nil
}

type server struct{}

// put stores 220 bytes at the path that it is sent: write, fsync, rename, fsync
// of the directory.
func (*server) put(path string) error { return writeDurably(path, make([]byte, 220)) }

var serviceDesc = grpc.ServiceDesc{
	ServiceName: "floor.Floor",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Put",
		Handler: func(srv any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := &wrapperspb.BytesValue{}
			if err := dec(in); err != nil {
				return nil, err
			}
			return in, srv.(*server).put(string(in.GetValue()))
		},
	}},
	Streams: []grpc.StreamDesc{{
		StreamName: "Schedule", ServerStreams: true, ClientStreams: true,
		Handler: func(_ any, stream grpc.ServerStream) error {
			for {
				in := &wrapperspb.BytesValue{}
				if err := stream.RecvMsg(in); err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
				if err := stream.SendMsg(in); err != nil {
					return err
				}
			}
		},
	}},
}

func writeDurably(path string, data []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".put-*")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

type journal struct {
	*sql.DB
	insert *sql.Stmt
}

func openJournal(path string) (*journal, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(`CREATE TABLE IF NOT EXISTS event (id INTEGER PRIMARY KEY, run TEXT, kind TEXT, at INTEGER, data TEXT)`); err != nil {
		return nil, err
	}
	insert, err := db.Prepare(`INSERT INTO event (run, kind, at, data) VALUES (?, ?, ?, ?)`)
	return &journal{db, insert}, err
}

func (j *journal) commit(kind string) error {
	tx, err := j.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	payload := make([]byte, 200)
	for i := range payload {
		payload[i] = 'x'
	}
	if _, err := tx.Stmt(j.insert).Exec("run", kind, time.Now().UnixMicro(), string(payload)); err != nil {
		return err
	}
	return tx.Commit()
}

func commits(db, dir string, n int) error {
	j, err := openJournal(db)
	if err != nil {
		return err
	}
	defer j.Close()
	start := time.Now()
	for i := range n {
		if err := writeDurably(filepath.Join(dir, fmt.Sprintf("%d-%d", os.Getpid(), i)), make([]byte, 220)); err != nil {
			return err
		}
		if err := j.commit("step"); err != nil {
			return err
		}
	}
	fmt.Println(time.Since(start).Nanoseconds() / int64(n))
	return nil
}
