package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// reconciler makes a Deployment of each ConfigMap that is labelled, and tells in it how many replicas are ready.
type reconciler struct{ client.Client }

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var wish corev1.ConfigMap
	if err := r.Get(ctx, request.NamespacedName, &wish); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if wish.Labels["managed"] != "yes" || wish.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	replicas, err := strconv.ParseInt(wish.Data["replicas"], 10, 32)
	if err != nil {
		return ctrl.Result{}, err
	}
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: wish.Name, Namespace: wish.Namespace}}
	if _, err := controllerutil.CreateOrUpdate(ctx, r.Client, deployment, func() error {
		labels, n, grace := map[string]string{"app": wish.Name}, int32(replicas), int64(1)
		deployment.Spec.Replicas = &n
		deployment.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
		deployment.Spec.Template.Labels = labels
		deployment.Spec.Template.Spec.TerminationGracePeriodSeconds = &grace
		if len(deployment.Spec.Template.Spec.Containers) == 0 {
			deployment.Spec.Template.Spec.Containers = []corev1.Container{{Name: "c"}}
		}
		deployment.Spec.Template.Spec.Containers[0].Image = os.Getenv("NEAP_IMAGE")
		deployment.Spec.Template.Spec.Containers[0].Command = []string{"sleep", "100000"}
		return controllerutil.SetControllerReference(&wish, deployment, r.Scheme())
	}); err != nil {
		return ctrl.Result{}, err
	}
	before := wish.DeepCopy()
	metav1.SetMetaDataAnnotation(&wish.ObjectMeta, "ready", fmt.Sprint(deployment.Status.ReadyReplicas))
	return ctrl.Result{}, r.Patch(ctx, &wish, client.MergeFrom(before))
}

func managing(ctx context.Context, config *rest.Config) {
	log.SetLogger(zap.New())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	manager, err := ctrl.NewManager(config, ctrl.Options{LeaderElection: true, LeaderElectionID: "manager",
		LeaderElectionNamespace: "default", Metrics: metricsserver.Options{BindAddress: "0"}})
	must(err)
	must(ctrl.NewControllerManagedBy(manager).For(&corev1.ConfigMap{}).Owns(&appsv1.Deployment{}).
		Complete(&reconciler{manager.GetClient()}))
	ended := make(chan error, 1)
	go func() { ended <- manager.Start(ctx) }()

	direct, err := client.New(config, client.Options{})
	must(err)
	wish := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "managed", Namespace: "default",
		Labels: map[string]string{"managed": "yes"}}, Data: map[string]string{"replicas": "2"}}
	must(direct.Create(ctx, wish))
	key := client.ObjectKeyFromObject(wish)
	ready := func(n string) error {
		return eventually(ctx, func() error {
			must(direct.Get(ctx, key, wish))
			return expect(wish.Annotations["ready"] == n, "%s ready instead of %s", wish.Annotations["ready"], n)
		})
	}
	scale := func(n string) {
		must(direct.Get(ctx, key, wish))
		before := wish.DeepCopy()
		wish.Data["replicas"] = n
		must(direct.Patch(ctx, wish, client.MergeFrom(before)))
	}
	must(ready("2"))
	scale("1")
	report("manager: reconciles", ready("1"))
	var owned appsv1.Deployment
	must(direct.Get(ctx, key, &owned))
	uid := owned.UID
	must(direct.Delete(ctx, &owned))
	report("manager: what it owns comes back", eventually(ctx, func() error {
		err := direct.Get(ctx, key, &owned)
		return expect(err == nil && owned.UID != uid && owned.Status.ReadyReplicas == 1, "%v %v", err, owned.Status)
	}))
	restart()
	scale("3")
	report("manager: goes on after the server was killed", ready("3"))
	must(direct.Delete(ctx, wish))
	report("manager: what was owned goes with its owner", eventually(ctx, func() error {
		err := direct.Get(ctx, key, &owned)
		return expect(err != nil && client.IgnoreNotFound(err) == nil, "%v", err)
	}))
	cancel()
	report("manager: ends", <-ended)
}
