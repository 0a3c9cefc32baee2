package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"
)

// pods: exec by both transports, and logs.
func pods(ctx context.Context, config *rest.Config) {
	client, err := kubernetes.NewForConfig(config)
	must(err)
	part("exec by websocket", func() {
		execute(ctx, client, "exec by websocket", func(r *rest.Request) (remotecommand.Executor, error) {
			return remotecommand.NewWebSocketExecutor(config, "GET", r.URL().String())
		})
	})
	part("exec as kubectl does it", func() {
		execute(ctx, client, "exec as kubectl does it", func(r *rest.Request) (remotecommand.Executor, error) {
			websocket, err := remotecommand.NewWebSocketExecutor(config, "GET", r.URL().String())
			must(err)
			spdy, err := remotecommand.NewSPDYExecutor(config, "POST", r.URL())
			must(err)
			return remotecommand.NewFallbackExecutor(websocket, spdy, httpstream.IsUpgradeFailure)
		})
	})
	part("exec by SPDY alone", func() {
		request := client.CoreV1().RESTClient().Post().Resource("pods").Namespace("default").
			Name(os.Getenv("NEAP_POD")).SubResource("exec").VersionedParams(&corev1.PodExecOptions{
			Command: []string{"true"}, Stdout: true}, scheme.ParameterCodec)
		spdy, err := remotecommand.NewSPDYExecutor(config, "POST", request.URL())
		must(err)
		err = spdy.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: io.Discard})
		report("exec by SPDY alone: told what is served", expect(err != nil &&
			strings.Contains(err.Error(), "SPDY is not served"), "%v", err))
	})
	part("logs", func() { logs(ctx, client) })
}

func execute(ctx context.Context, client kubernetes.Interface, name string,
	executor func(*rest.Request) (remotecommand.Executor, error)) {
	request := func(command string) remotecommand.Executor {
		got, err := executor(client.CoreV1().RESTClient().Post().Resource("pods").Namespace("default").
			Name(os.Getenv("NEAP_POD")).SubResource("exec").VersionedParams(&corev1.PodExecOptions{
			Command: []string{"sh", "-c", command}, Stdin: true, Stdout: true, Stderr: true}, scheme.ParameterCodec))
		must(err)
		return got
	}
	big := strings.Repeat("0123456789abcdef", 16*1024)
	var out, errs bytes.Buffer
	err := request("cat; echo wrong >&2").StreamWithContext(ctx, remotecommand.StreamOptions{
		Stdin: strings.NewReader(big), Stdout: &out, Stderr: &errs})
	must(err)
	report(name, expect(out.String() == big && errs.String() == "wrong\n", "%d bytes, %q", out.Len(), errs.String()))
	err = request("exit 7").StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: strings.NewReader(""),
		Stdout: io.Discard, Stderr: io.Discard})
	var code utilexec.CodeExitError
	report(name+": the exit code", expect(errors.As(err, &code) && code.Code == 7, "%v", err))
}

func logs(ctx context.Context, client kubernetes.Interface) {
	pod := os.Getenv("NEAP_POD")
	text, err := client.CoreV1().Pods("default").GetLogs(pod, &corev1.PodLogOptions{}).DoRaw(ctx)
	must(err)
	two := int64(2)
	tail, err := client.CoreV1().Pods("default").GetLogs(pod, &corev1.PodLogOptions{TailLines: &two}).DoRaw(ctx)
	must(err)
	report("logs", expect(string(text) == "line 1\nline 2\nline 3\n" && string(tail) == "line 2\nline 3\n", "%q %q", text, tail))
	stream, err := client.CoreV1().Pods("default").GetLogs(pod, &corev1.PodLogOptions{Follow: true}).Stream(ctx)
	must(err)
	defer stream.Close()
	lines, seen := bufio.NewScanner(stream), ""
	for i := 0; i < 3 && lines.Scan(); i++ {
		seen += lines.Text() + ";"
	}
	report("logs: followed", expect(seen == "line 1;line 2;line 3;", "%s", fmt.Sprint(seen, lines.Err())))
}
