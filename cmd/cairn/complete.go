package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-stack/cairn/host/api"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
)

// completionTime is how long a shell waits for names at most.
const completionTime = 2 * time.Second

// names lists what an argument or a flag's value could be, each a value, or a
// value, a tab and a description. Args are the arguments before it.
type names func(ctx context.Context, svc api.Service, args []string) ([]string, error)

// fixed is a list that needs no host.
func fixed(values ...string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return beginning(values, word), cobra.ShellCompDirectiveNoFileComp
	}
}

// complete completes an argument by its place: lists[0] the first, and so on. An
// error shows nothing: a shell has no place for it.
func (c *cli) complete(lists ...names) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(lists) || lists[len(args)] == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c.ask(cmd, lists[len(args)], args, word), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeAll completes every argument by the same list.
func (c *cli) completeAll(list names) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		return c.ask(cmd, list, args, word), cobra.ShellCompDirectiveNoFileComp
	}
}

func (c *cli) ask(cmd *cobra.Command, list names, args []string, word string) []string {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	svc, err := c.host(ctx)
	if err != nil {
		return nil
	}
	values, err := list(ctx, svc, args)
	if err != nil {
		return nil
	}
	return beginning(values, word)
}

func beginning(values []string, word string) []string {
	var found []string
	for _, v := range values {
		if strings.HasPrefix(v, word) {
			found = append(found, v)
		}
	}
	return found
}

// completeFlag completes a flag's value.
func completeFlag(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	// It fails only for a flag that does not exist or has one already: a mistake
	// in this program, which the test of the command tree finds.
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err)
	}
}

func (c *cli) stackNames(ctx context.Context, svc api.Service, _ []string) ([]string, error) {
	res, err := svc.ListStacks(ctx, &apiv1.ListStacksRequest{Context: c.context()})
	if err != nil {
		return nil, err
	}
	var found []string
	for _, s := range res.GetStacks() {
		found = append(found, s.GetName())
	}
	return found, nil
}

func componentNames(componentType string) names {
	return func(ctx context.Context, svc api.Service, _ []string) ([]string, error) {
		res, err := svc.ListComponents(ctx, &apiv1.ListComponentsRequest{Type: componentType})
		if err != nil {
			return nil, err
		}
		var found []string
		for _, x := range res.GetComponents() {
			found = append(found, cobra.CompletionWithDesc(x.GetName(), x.GetFlavor()))
		}
		return found, nil
	}
}

func flavorNames(componentType string) names {
	return func(ctx context.Context, svc api.Service, _ []string) ([]string, error) {
		res, err := svc.ListFlavors(ctx, &apiv1.ListFlavorsRequest{Type: componentType})
		if err != nil {
			return nil, err
		}
		var found []string
		for _, x := range res.GetFlavors() {
			found = append(found, cobra.CompletionWithDesc(x.GetName(), x.GetSummary()))
		}
		return found, nil
	}
}

func secretNames(ctx context.Context, svc api.Service, _ []string) ([]string, error) {
	res, err := svc.ListSecrets(ctx, &apiv1.ListSecretsRequest{})
	if err != nil {
		return nil, err
	}
	var found []string
	for _, s := range res.GetSecrets() {
		found = append(found, s.GetName())
	}
	return found, nil
}

func pluginNames(ctx context.Context, svc api.Service, _ []string) ([]string, error) {
	res, err := svc.ListPlugins(ctx, &apiv1.ListPluginsRequest{})
	if err != nil {
		return nil, err
	}
	var found []string
	for _, p := range res.GetPlugins() {
		found = append(found, cobra.CompletionWithDesc(p.GetName(), p.GetStatus()))
	}
	return found, nil
}

func (c *cli) runNames(ctx context.Context, svc api.Service, _ []string) ([]string, error) {
	res, err := svc.ListRuns(ctx, &apiv1.ListRunsRequest{Context: c.context(), Limit: 50})
	if err != nil {
		return nil, err
	}
	found := []string{"latest"}
	for _, r := range res.GetRuns() {
		found = append(found, cobra.CompletionWithDesc(r.GetName(), r.GetState()))
	}
	return found, nil
}

// stepNames are the steps of the run that the argument before names.
func (c *cli) stepNames(ctx context.Context, svc api.Service, args []string) ([]string, error) {
	res, err := svc.GetRun(ctx, &apiv1.GetRunRequest{Context: c.context(), Run: args[0]})
	if err != nil {
		return nil, err
	}
	var found []string
	for _, s := range res.GetSteps() {
		found = append(found, cobra.CompletionWithDesc(s.GetName(), s.GetState()))
	}
	return found, nil
}

func (c *cli) artifactNames(ctx context.Context, svc api.Service, _ []string) ([]string, error) {
	res, err := svc.ListArtifacts(ctx, &apiv1.ListArtifactsRequest{Context: c.context(), Limit: 200})
	if err != nil {
		return nil, err
	}
	var found []string
	for _, a := range res.GetArtifacts() {
		found = append(found, a.GetName())
	}
	return found, nil
}

func (c *cli) pipelineNames(ctx context.Context, svc api.Service, _ []string) ([]string, error) {
	res, err := svc.ListPipelines(ctx, &apiv1.ListPipelinesRequest{Context: c.context()})
	if err != nil {
		return nil, err
	}
	var found []string
	for _, p := range res.GetPipelines() {
		found = append(found, p.GetName())
	}
	return found, nil
}
