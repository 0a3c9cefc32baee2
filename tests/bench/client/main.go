// client loads any server that speaks the Kubernetes API with what a plain load client does not: updates, LISTs in
// protobuf or without gzip, server-side apply. One line a figure, as "NAME: RATE/s  p50 X ms  p99 Y ms". Standard
// library only; tests/bench/beside.py builds and runs it.
//
//	client -server URL -cert F -key F update -n 5000 -c 16         PUTs of 64 ConfigMaps, 1 KiB each
//	client ... list   -n 40 -c 4 -objects 5000 -accept TYPE -gzip=false   LISTs of one namespace
//	client ... apply  -n 1000 -c 16     applies n ConfigMaps and n Deployments: new ones, then each with a change
package main

import (
	"bytes"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var (
	server  = flag.String("server", "https://127.0.0.1:6443", "API server")
	cert    = flag.String("cert", "", "client certificate file")
	key     = flag.String("key", "", "client key file")
	n       = flag.Int("n", 1000, "operations")
	c       = flag.Int("c", 16, "concurrent clients, spread over 4 connections")
	objects = flag.Int("objects", 5000, "objects to list")
	accept  = flag.String("accept", "application/json", "media type of LIST's answers")
	gzip    = flag.Bool("gzip", true, "whether gzip is accepted, as by client-go")
	clients [4]*http.Client
	ns      = fmt.Sprintf("load-%d", time.Now().UnixNano())
)

const jsonType = "application/json"

func fail(f string, a ...any) { fmt.Fprintf(os.Stderr, f+"\n", a...); os.Exit(1) }

func connect() {
	conf := &tls.Config{InsecureSkipVerify: true}
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			fail("%v", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	for i := range clients {
		clients[i] = &http.Client{Timeout: 5 * time.Minute, Transport: &http.Transport{TLSClientConfig: conf.Clone(),
			ForceAttemptHTTP2: true, DisableCompression: !*gzip}}
	}
}

// call sends one request and returns how many bytes came back (after gzip).
func call(worker int, method, path, ctype, want string, body []byte) int64 {
	req, err := http.NewRequest(method, *server+path, bytes.NewReader(body))
	if err != nil {
		fail("%v", err)
	}
	req.Header.Set("Accept", want)
	if body != nil {
		req.Header.Set("Content-Type", ctype)
	}
	resp, err := clients[worker%len(clients)].Do(req)
	if err != nil {
		fail("%v", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 400))
		fail("%s %s: %d %s", method, path, resp.StatusCode, text)
	}
	size, err := io.Copy(io.Discard, resp.Body)
	if err != nil {
		fail("%v", err)
	}
	return size
}

// load runs f for 0..total-1 on the workers and prints the rate and latencies; no line without a name.
func load(name string, total int, f func(worker, i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	took := make([]time.Duration, total)
	start := time.Now()
	for w := 0; w < *c; w++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := int(next.Add(1)) - 1; i < total; i = int(next.Add(1)) - 1 {
				t := time.Now()
				f(w, i)
				took[i] = time.Since(t)
			}
		}()
	}
	wg.Wait()
	all := time.Since(start)
	if name == "" {
		return
	}
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	at := func(q float64) float64 { return took[int(q*float64(total-1))].Seconds() * 1000 }
	fmt.Printf("%s: %.1f/s  p50 %.2f ms  p99 %.2f ms\n", name, float64(total)/all.Seconds(), at(.5), at(.99))
}

func configMap(i int, value string) []byte {
	return []byte(fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"cm-%d","labels":{"app":"load"}},`+
		`"data":{"k":%q,"v":%q}}`, i, strings.Repeat("x", 1024), value))
}

// deployment is what a chart typically applies: labels, probes, resources, environment, volumes.
func deployment(i int, value string) []byte {
	return []byte(fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web-%[1]d","labels":{"app":"web",`+
		`"release":"r%[1]d"}},"spec":{"replicas":0,"selector":{"matchLabels":{"app":"web","release":"r%[1]d"}},"template":`+
		`{"metadata":{"labels":{"app":"web","release":"r%[1]d"},"annotations":{"note":%[2]q}},"spec":{"containers":[{"name":"web",`+
		`"image":"registry.example/web:1.%[1]d","args":["serve","--port=8080"],"env":[{"name":"A","value":"1"},{"name":"POD",`+
		`"valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}],"ports":[{"name":"http","containerPort":8080}],"resources":`+
		`{"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"memory":"128Mi"}},"livenessProbe":{"httpGet":{"path":"/healthz",`+
		`"port":"http"},"periodSeconds":10},"readinessProbe":{"httpGet":{"path":"/ready","port":"http"}},"volumeMounts":[{"name":`+
		`"conf","mountPath":"/etc/web"}]}],"volumes":[{"name":"conf","configMap":{"name":"cm-%[1]d"}}]}}}}`, i, value))
}

func apply(path string, what string, body func(int, string) []byte, name string) {
	for _, round := range []string{"new", "changed"} {
		load(fmt.Sprintf("apply %s %s", round, what), *n, func(w, i int) {
			call(w, "PATCH", fmt.Sprintf("%s/%s-%d?fieldManager=load&force=true", path, name, i),
				"application/apply-patch+yaml", jsonType, body(i, round))
		})
	}
}

func main() {
	if len(os.Args) < 2 {
		flag.Usage()
		os.Exit(2)
	}
	flag.Parse()
	verb := flag.Arg(0)
	flag.CommandLine.Parse(flag.Args()[1:])
	connect()
	call(0, "POST", "/api/v1/namespaces", jsonType, jsonType,
		[]byte(fmt.Sprintf(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":%q}}`, ns)))
	maps := "/api/v1/namespaces/" + ns + "/configmaps"
	create := func(w, i int) { call(w, "POST", maps, jsonType, jsonType, configMap(i, "0")) }
	switch verb {
	case "update":
		load("", 64, create)
		load("update", *n, func(w, i int) {
			call(w, "PUT", fmt.Sprintf("%s/cm-%d", maps, i%64), jsonType, jsonType, configMap(i%64, fmt.Sprint(i)))
		})
	case "list":
		load("", *objects, create)
		load(fmt.Sprintf("list %s gzip=%v", *accept, *gzip), *n, func(w, i int) {
			if call(w, "GET", maps, "", *accept, nil) < int64(*objects)*1024 {
				fail("a LIST is too short")
			}
		})
	case "apply":
		apply(maps, "ConfigMaps", configMap, "cm")
		apply("/apis/apps/v1/namespaces/"+ns+"/deployments", "Deployments", deployment, "web")
	default:
		fail("unknown verb %q", verb)
	}
}
