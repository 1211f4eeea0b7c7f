package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
)

const secretValuesHelp = `
Values are never taken from the command line, where other users and the shell's
history see them. For each KEY named, a terminal is asked, without echo; where
there is no terminal, standard input is the value of the one KEY. --from-file
takes a file as a value, --values a YAML or JSON file of keys and values ('-' is
standard input).`

func (c *cli) secretCommand() *cobra.Command {
	cmd := c.noun("secret", "Keep secrets that components and steps refer to",
		`A secret is a map of keys to values, encrypted at rest. An option of a component
refers to one as {{NAME.KEY}}; a step names the secrets that it needs.`,
		c.secretCreate(), c.secretList(), c.secretGet(), c.secretUpdate(), c.secretDelete())
	cmd.Example = "  cairn secret create s3 access_key secret_key\n  cairn secret list"
	return cmd
}

func (c *cli) secretCreate() *cobra.Command {
	var in secretInput
	cmd := &cobra.Command{
		Use:   "create NAME [KEY...]",
		Short: "Create a secret",
		Long:  "Create a secret.\n" + secretValuesHelp + exits(exitInvalid, exitRefused),
		Example: `  cairn secret create s3 access_key secret_key
  cairn secret create github token < token.txt
  cairn secret create tls --from-file key=server.pem
  cairn secret create s3 --values s3.yaml`,
		Args: needs("NAME", "[KEY...]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			values, err := in.read(c, args[0], args[1:])
			if err != nil {
				return err
			}
			if len(values) == 0 {
				return usageError("secret '%s' has no keys", args[0]).WithHint("cairn secret create %s KEY", args[0])
			}
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.CreateSecret(cmd.Context(), &apiv1.CreateSecretRequest{Name: args[0], Values: values})
			if err != nil {
				return err
			}
			v := secretOf(res.GetSecret())
			return c.done(v, "Created secret %s (%s). Refer to it as {{%s.%s}}.", v.Name, strings.Join(v.Keys, ", "), v.Name, v.Keys[0])
		},
	}
	in.addFlags(cmd)
	return cmd
}

func (c *cli) secretUpdate() *cobra.Command {
	var in secretInput
	var remove []string
	cmd := &cobra.Command{
		Use:   "update NAME [KEY...]",
		Short: "Change, add or remove keys of a secret",
		Long:  "Change, add or remove keys of a secret. Keys that are not named stay.\n" + secretValuesHelp + exits(exitInvalid, exitNotFound),
		Example: `  cairn secret update s3 secret_key
  cairn secret update s3 --remove-key session_token`,
		Args: needs("NAME", "[KEY...]"), ValidArgsFunction: c.complete(secretNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			values, err := in.read(c, args[0], args[1:])
			if err != nil {
				return err
			}
			if len(values)+len(remove) == 0 {
				return usageError("there is nothing to change in secret '%s'", args[0]).WithHint("cairn secret update %s KEY", args[0])
			}
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.UpdateSecret(cmd.Context(), &apiv1.UpdateSecretRequest{Name: args[0], Set: values, Remove: remove})
			if err != nil {
				return err
			}
			v := secretOf(res.GetSecret())
			return c.done(v, "Updated secret %s (%s).", v.Name, strings.Join(v.Keys, ", "))
		},
	}
	in.addFlags(cmd)
	cmd.Flags().StringArrayVar(&remove, "remove-key", nil, "take the `KEY` away; may be repeated")
	return cmd
}

func (c *cli) secretList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the secrets, without values",
		Long:    "List the secrets with their keys, without values." + exits(exitInvalid),
		Example: "  cairn secret list\n  cairn secret list --output json",
		Args:    needs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.ListSecrets(cmd.Context(), &apiv1.ListSecretsRequest{})
			if err != nil {
				return err
			}
			views := viewsOf(res.GetSecrets(), secretOf)
			return c.show(views, func(p *page) {
				var rows [][]string
				for _, v := range views {
					rows = append(rows, []string{p.style.bold(v.Name), strings.Join(v.Keys, ", "), strings.Join(v.UsedBy, ", "), whenText(v.UpdatedAt)})
				}
				p.table([]string{"NAME", "KEYS", "USED BY", "UPDATED"}, rows)
			})
		},
	}
}

func (c *cli) secretGet() *cobra.Command {
	var reveal bool
	cmd := &cobra.Command{
		Use:     "get NAME",
		Aliases: []string{"describe"},
		Short:   "Show the keys of a secret",
		Long:    "Show the keys of a secret; its values only with --reveal." + exits(exitInvalid, exitNotFound),
		Example: "  cairn secret get s3\n  cairn secret get s3 --reveal --output json",
		Args:    needs("NAME"), ValidArgsFunction: c.complete(secretNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.GetSecret(cmd.Context(), &apiv1.GetSecretRequest{Name: args[0], Reveal: reveal})
			if err != nil {
				return err
			}
			v := secretOf(res.GetSecret())
			v.Values = res.GetValues()
			return c.show(v, func(p *page) {
				p.fields(field{"Name", p.style.bold(v.Name)}, field{"Keys", strings.Join(v.Keys, ", ")},
					field{"Used by", strings.Join(v.UsedBy, ", ")},
					field{"Created", whenText(v.CreatedAt)}, field{"Updated", whenText(v.UpdatedAt)})
				if !reveal {
					return
				}
				p.section("Values")
				var fields []field
				for _, k := range slices.Sorted(maps.Keys(v.Values)) {
					fields = append(fields, field{k, v.Values[k]})
				}
				p.fields(fields...)
			})
		},
	}
	cmd.Flags().BoolVar(&reveal, "reveal", false, "show the values")
	return cmd
}

func (c *cli) secretDelete() *cobra.Command {
	return &cobra.Command{
		Use:     "delete NAME",
		Short:   "Delete a secret",
		Long:    "Delete a secret. One that a component refers to cannot be deleted." + exits(exitInvalid, exitNotFound, exitRefused),
		Example: "  cairn secret delete s3\n  cairn secret delete s3 --yes",
		Args:    needs("NAME"), ValidArgsFunction: c.complete(secretNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			if _, err := svc.GetSecret(cmd.Context(), &apiv1.GetSecretRequest{Name: args[0]}); err != nil {
				return err
			}
			if err := c.confirm("delete secret " + args[0]); err != nil {
				return err
			}
			if _, err := svc.DeleteSecret(cmd.Context(), &apiv1.DeleteSecretRequest{Name: args[0]}); err != nil {
				return err
			}
			return c.done(deletedView{Deleted: args[0]}, "Deleted secret %s.", args[0])
		},
	}
}
