// The stargz snapshotter of its library: it gives containerd layers that are still in a registry.
// Arguments: a directory for its files, and the socket at which it answers.
package main

import (
	"context"
	"net"
	"os"

	snapshots "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/contrib/snapshotservice"
	"github.com/containerd/stargz-snapshotter/service"
	"google.golang.org/grpc"
)

func main() {
	found, err := service.NewStargzSnapshotterService(context.Background(), os.Args[1], &service.Config{})
	if err != nil {
		panic(err)
	}
	listener, err := net.Listen("unix", os.Args[2])
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer()
	snapshots.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(found))
	panic(server.Serve(listener))
}
