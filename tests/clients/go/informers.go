package main

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// record is what the handlers of an informer were told: the state that follows from it.
type record struct {
	sync.Mutex
	state   map[string]string
	deleted map[string]bool
}

func (r *record) handler() cache.ResourceEventHandlerFuncs {
	set := func(object any) {
		cm := object.(*corev1.ConfigMap)
		r.Lock()
		defer r.Unlock()
		r.state[cm.Name] = cm.Data["n"]
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: set, UpdateFunc: func(_, object any) { set(object) },
		DeleteFunc: func(object any) {
			if last, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = last.Obj
			}
			r.Lock()
			defer r.Unlock()
			delete(r.state, object.(*corev1.ConfigMap).Name)
			r.deleted[object.(*corev1.ConfigMap).Name] = true
		}}
}

func informing(ctx context.Context, config *rest.Config) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := kubernetes.NewForConfig(config)
	must(err)
	const namespace, count = "informed", 300
	_, err = client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		metav1.CreateOptions{})
	must(err)
	configMaps := client.CoreV1().ConfigMaps(namespace)
	want := map[string]string{}
	put := func(i int, value string) {
		name := fmt.Sprintf("cm-%03d", i)
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"informed": "yes"}},
			Data: map[string]string{"n": value}}
		var err error
		if _, known := want[name]; known {
			_, err = configMaps.Update(ctx, cm, metav1.UpdateOptions{})
		} else {
			_, err = configMaps.Create(ctx, cm, metav1.CreateOptions{})
		}
		must(err)
		want[name] = value
	}
	for i := range count / 2 {
		put(i, "first")
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = "informed=yes" }))
	seen := &record{state: map[string]string{}, deleted: map[string]bool{}}
	informer := factory.Core().V1().ConfigMaps()
	_, err = informer.Informer().AddEventHandler(seen.handler())
	must(err)
	factory.Start(ctx.Done())
	same := func() error {
		seen.Lock()
		defer seen.Unlock()
		cached, err := informer.Lister().List(labels.Everything())
		must(err)
		return expect(maps.Equal(seen.state, want) && len(cached) == len(want), "%d of %d, %d cached", len(seen.state),
			len(want), len(cached))
	}
	wait, stop := context.WithTimeout(ctx, deadline)
	defer stop()
	for kind, ok := range factory.WaitForCacheSync(wait.Done()) {
		must(expect(ok, "%v is not synced", kind))
	}
	for i := range count {
		put(i, "second")
	}
	report("informers sync", eventually(ctx, same))

	for i := range count / 3 {
		put(i, "before")
	}
	must(configMaps.Delete(ctx, "cm-000", metav1.DeleteOptions{}))
	delete(want, "cm-000")
	restart()
	for i := 1; i < count; i += 3 {
		put(i, "after")
	}
	must(configMaps.Delete(ctx, "cm-002", metav1.DeleteOptions{}))
	delete(want, "cm-002")
	start := time.Now()
	err = eventually(ctx, same)
	report("informers see everything after the server was killed", err)
	seen.Lock()
	defer seen.Unlock()
	report("informers: deletions are told", expect(seen.deleted["cm-000"] && seen.deleted["cm-002"], "%v after %v",
		seen.deleted, time.Since(start)))
}
