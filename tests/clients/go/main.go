// The Go client: client-go and controller-runtime against a cluster that KUBECONFIG names.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const deadline = 30 * time.Second

var input = bufio.NewReader(os.Stdin)

func report(name string, err error) {
	if err != nil {
		fmt.Printf("not ok %s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	fmt.Printf("ok %s\n", name)
}

// must ends the part of the test that cannot go on: see part.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func expect(condition bool, format string, args ...any) error {
	if condition {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// restart has the server killed and waits until another answers.
func restart() {
	fmt.Println("restart")
	if _, err := input.ReadString('\n'); err != nil {
		panic(err)
	}
}

// eventually polls; the error is the last one of look.
func eventually(ctx context.Context, look func() error) error {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	for {
		err := look()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func part(name string, run func()) {
	defer func() {
		if r := recover(); r != nil {
			report(name, fmt.Errorf("%v", r))
		}
	}()
	run()
}

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	must(err)
	config.QPS, config.Burst = 200, 400
	protobuf := rest.CopyConfig(config)
	protobuf.ContentType = runtime.ContentTypeProtobuf
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	part("typed client", func() { typed(ctx, config, "") })
	part("typed client in protobuf", func() { typed(ctx, protobuf, " in protobuf") })
	part("exec and logs", func() { pods(ctx, config) })
	part("informers", func() { informing(ctx, protobuf) })
	part("leader election", func() { leading(ctx, config) })
	part("manager", func() { managing(ctx, config) })
}
