package main

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// candidate runs for the lease; what it becomes is sent to the channel.
func candidate(ctx context.Context, client kubernetes.Interface, id string, leads chan<- string) {
	lock := &resourcelock.LeaseLock{LeaseMeta: metav1.ObjectMeta{Name: "leader", Namespace: "default"},
		Client: client.CoordinationV1(), LockConfig: resourcelock.ResourceLockConfig{Identity: id}}
	leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{Lock: lock, LeaseDuration: 5 * time.Second,
		RenewDeadline: 4 * time.Second, RetryPeriod: 300 * time.Millisecond, ReleaseOnCancel: false,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { leads <- id + " leads" },
			OnStoppedLeading: func() { leads <- id + " stops" }}})
}

func told(leads <-chan string) string {
	select {
	case s := <-leads:
		return s
	case <-time.After(deadline):
		return "nothing"
	}
}

func leading(ctx context.Context, config *rest.Config) {
	client, err := kubernetes.NewForConfig(config)
	must(err)
	leads := make(chan string, 16)
	ctxA, stopA := context.WithCancel(ctx)
	defer stopA()
	ctxB, stopB := context.WithCancel(ctx)
	defer stopB()
	go candidate(ctxA, client, "a", leads)
	first := told(leads)
	go candidate(ctxB, client, "b", leads)
	lease := func() *time.Time {
		got, err := client.CoordinationV1().Leases("default").Get(ctx, "leader", metav1.GetOptions{})
		must(err)
		must(expect(*got.Spec.HolderIdentity == "a", "%s holds it", *got.Spec.HolderIdentity))
		return &got.Spec.RenewTime.Time
	}
	before := lease()
	report("leader election", eventually(ctx, func() error {
		return expect(first == "a leads" && lease().After(*before), "%s", first)
	}))
	restart()
	before = lease()
	err = eventually(ctx, func() error { return expect(lease().After(*before), "not renewed") })
	if err == nil && len(leads) > 0 {
		err = expect(false, "%s", <-leads)
	}
	report("leader election goes on after the server was killed", err)
	stopA()
	stops, then := told(leads), told(leads)
	got, err := client.CoordinationV1().Leases("default").Get(ctx, "leader", metav1.GetOptions{})
	must(err)
	report("leader election: another takes over", expect(stops == "a stops" && then == "b leads" &&
		*got.Spec.LeaseTransitions == 1, "%s, %s, %d transitions", stops, then, *got.Spec.LeaseTransitions))
}
