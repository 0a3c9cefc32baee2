package main

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	appsac "k8s.io/client-go/applyconfigurations/apps/v1"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	metaac "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// typed goes through the verbs of the typed client; suffix tells the content type.
func typed(ctx context.Context, config *rest.Config, suffix string) {
	client, err := kubernetes.NewForConfig(config)
	must(err)
	namespace := "typed" + strings.ReplaceAll(suffix, " ", "-")
	_, err = client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		metav1.CreateOptions{})
	must(err)
	part("list"+suffix, func() { listing(ctx, client, suffix) })
	part("patch"+suffix, func() { patching(ctx, client, namespace, suffix) })
	part("server-side apply"+suffix, func() { applying(ctx, client, namespace, suffix) })
	part("watch"+suffix, func() { watching(ctx, client, namespace, suffix) })
	must(client.CoreV1().Namespaces().Delete(ctx, namespace, metav1.DeleteOptions{}))
	report("delete"+suffix, eventually(ctx, func() error {
		_, err := client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
		return expect(apierrors.IsNotFound(err), "the namespace is still there: %v", err)
	}))
}

func listing(ctx context.Context, client kubernetes.Interface, suffix string) {
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	must(err)
	names := map[string]bool{}
	options := metav1.ListOptions{Limit: 2}
	for pages := 0; ; pages++ {
		page, err := client.CoreV1().Namespaces().List(ctx, options)
		must(err)
		for _, item := range page.Items {
			names[item.Name] = true
		}
		if options.Continue = page.Continue; options.Continue == "" {
			report("list"+suffix, expect(len(nodes.Items) == 1 && names["default"] && names["kube-system"] && pages > 0,
				"%v in %d pages", names, pages))
			return
		}
	}
}

func patching(ctx context.Context, client kubernetes.Interface, namespace, suffix string) {
	maps := client.CoreV1().ConfigMaps(namespace)
	made, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "one"},
		Data: map[string]string{"a": "1", "b": "2"}}, metav1.CreateOptions{})
	must(err)
	report("create"+suffix, expect(made.UID != "" && made.ResourceVersion != "" && made.Data["a"] == "1", "%v", made))
	_, err = maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "one"}}, metav1.CreateOptions{})
	report("create: it exists"+suffix, expect(apierrors.IsAlreadyExists(err), "%v", err))
	merged, err := maps.Patch(ctx, "one", types.MergePatchType, []byte(`{"data":{"a":null,"c":"3"}}`), metav1.PatchOptions{})
	must(err)
	report("merge patch"+suffix, expect(fmt.Sprint(merged.Data) == "map[b:2 c:3]", "%v", merged.Data))
	patched, err := maps.Patch(ctx, "one", types.JSONPatchType, []byte(`[{"op":"replace","path":"/data/c","value":"4"}]`),
		metav1.PatchOptions{})
	must(err)
	report("JSON patch"+suffix, expect(patched.Data["c"] == "4", "%v", patched.Data))
	stale := merged.DeepCopy()
	stale.Data["c"] = "5"
	_, err = maps.Update(ctx, stale, metav1.UpdateOptions{})
	report("update: a conflict"+suffix, expect(apierrors.IsConflict(err), "%v", err))
	_, err = client.CoreV1().Services(namespace).Create(ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "a", Port: 80}, {Name: "b", Port: 81}}}}, metav1.CreateOptions{})
	must(err)
	service, err := client.CoreV1().Services(namespace).Patch(ctx, "web", types.StrategicMergePatchType,
		[]byte(`{"spec":{"ports":[{"port":81,"name":"c"},{"port":80,"$patch":"delete"}]}}`), metav1.PatchOptions{})
	must(err)
	report("strategic merge patch"+suffix, expect(len(service.Spec.Ports) == 1 && service.Spec.Ports[0].Name == "c",
		"%v", service.Spec.Ports))
}

func applying(ctx context.Context, client kubernetes.Interface, namespace, suffix string) {
	deployment := func(replicas int32, image string) *appsac.DeploymentApplyConfiguration {
		labels := map[string]string{"app": "applied"}
		return appsac.Deployment("applied", namespace).WithSpec(appsac.DeploymentSpec().WithReplicas(replicas).
			WithSelector(metaac.LabelSelector().WithMatchLabels(labels)).
			WithTemplate(coreac.PodTemplateSpec().WithLabels(labels).WithSpec(coreac.PodSpec().WithContainers(
				coreac.Container().WithName("c").WithImage(image)))))
	}
	deployments := client.AppsV1().Deployments(namespace)
	_, err := deployments.Apply(ctx, deployment(0, "x:1"), metav1.ApplyOptions{FieldManager: "first"})
	must(err)
	got, err := deployments.Apply(ctx, deployment(0, "x:2"), metav1.ApplyOptions{FieldManager: "first"})
	must(err)
	report("server-side apply"+suffix, expect(got.Spec.Template.Spec.Containers[0].Image == "x:2" &&
		len(got.ManagedFields) > 0 && got.ManagedFields[0].Manager == "first", "%v", got))
	_, err = deployments.Apply(ctx, deployment(0, "x:3"), metav1.ApplyOptions{FieldManager: "second"})
	conflict := apierrors.IsConflict(err) && apierrors.HasStatusCause(err, metav1.CauseTypeFieldManagerConflict)
	report("server-side apply: a conflict"+suffix, expect(conflict, "%v", err))
	got, err = deployments.Apply(ctx, deployment(0, "x:3"), metav1.ApplyOptions{FieldManager: "second", Force: true})
	must(err)
	own, err := appsac.ExtractDeployment(got, "second")
	must(err)
	image := own.Spec.Template.Spec.Containers[0].Image
	report("server-side apply: force"+suffix, expect(image != nil && *image == "x:3", "%v", own))
}

// next is the name of the next event's object.
func next(ctx context.Context, w watch.Interface) (string, string) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	for {
		select {
		case event, open := <-w.ResultChan():
			object, ok := event.Object.(metav1.Object)
			if !open || !ok {
				panic(fmt.Errorf("the watch ends: %v %v", event.Type, event.Object))
			}
			if event.Type != watch.Bookmark {
				return string(event.Type) + " " + object.GetName(), object.GetResourceVersion()
			}
		case <-ctx.Done():
			panic(fmt.Errorf("no event"))
		}
	}
}

func watching(ctx context.Context, client kubernetes.Interface, namespace, suffix string) {
	maps := client.CoreV1().ConfigMaps(namespace)
	create := func(name string) {
		_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		must(err)
	}
	list, err := maps.List(ctx, metav1.ListOptions{})
	must(err)
	w, err := maps.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion, AllowWatchBookmarks: true})
	must(err)
	create("w1")
	create("w2")
	must(maps.Delete(ctx, "w1", metav1.DeleteOptions{}))
	first, revision := next(ctx, w)
	second, _ := next(ctx, w)
	third, _ := next(ctx, w)
	w.Stop()
	report("watch"+suffix, expect(first+second+third == "ADDED w1ADDED w2DELETED w1", "%s %s %s", first, second, third))
	w, err = maps.Watch(ctx, metav1.ListOptions{ResourceVersion: revision})
	must(err)
	second, _ = next(ctx, w)
	third, _ = next(ctx, w)
	w.Stop()
	report("resume from a resourceVersion"+suffix, expect(second+third == "ADDED w2DELETED w1", "%s %s", second, third))

	retry, err := watchtools.NewRetryWatcherWithContext(ctx, revision, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return maps.Watch(ctx, options)
		}})
	must(err)
	defer retry.Stop()
	next(ctx, retry)
	next(ctx, retry)
	create("w3")
	restart()
	create("w4")
	first, _ = next(ctx, retry)
	second, _ = next(ctx, retry)
	w, err = maps.Watch(ctx, metav1.ListOptions{ResourceVersion: revision})
	must(err)
	defer w.Stop()
	seen := ""
	for range 4 {
		name, _ := next(ctx, w)
		seen += name + " "
	}
	report("resume after the server was killed"+suffix, expect(first+second == "ADDED w3ADDED w4" &&
		seen == "ADDED w2 DELETED w1 ADDED w3 ADDED w4 ", "%s %s; %s", first, second, seen))
}
