package engine

import (
	"errors"
	"fmt"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
)

func errNotDriven(runID string) *diag.Error {
	return diag.Errorf(diag.Refused, "run %s is not driven by this host", runID)
}

func errInterrupted(runID, why string) *diag.Error {
	return &diag.Error{
		Code: diag.Interrupted, Summary: fmt.Sprintf("run %s was interrupted", runID), Detail: why,
		Hint: "cairn run resume " + runID,
	}
}

func errFenced(runID string, f *model.FencedError) *diag.Error {
	return &diag.Error{
		Code: diag.Interrupted, Summary: fmt.Sprintf("run %s was taken over", runID),
		Detail: fmt.Sprintf("host %s acquired it (epoch %d); this host writes nothing to it any more", f.Owner, f.Epoch),
		Hint:   "cairn run watch " + runID, Err: f,
	}
}

// explain makes an error of the journal, about a run, fit to show.
func explain(runID, doing string, err error) error {
	var de *diag.Error
	if errors.As(err, &de) {
		return err
	}
	code, hint := diag.Internal, ""
	switch {
	case errors.Is(err, model.ErrNotFound):
		return &diag.Error{Code: diag.NotFound, Summary: fmt.Sprintf("there is no run %s", runID), Hint: "cairn run list", Err: err}
	case errors.Is(err, model.ErrExists):
		return &diag.Error{
			Code: diag.Refused, Summary: "the run cannot be made", Detail: err.Error(),
			Hint: "choose another name with --name, or give none", Err: err,
		}
	case errors.Is(err, model.ErrOwned):
		return &diag.Error{
			Code: diag.Refused, Summary: fmt.Sprintf("run %s is being executed by another host", runID), Detail: err.Error(),
			Hint: fmt.Sprintf("Wait until it ends, or take it over: cairn run resume %s --take-over", runID), Err: err,
		}
	case errors.Is(err, model.ErrBusy):
		hint = "Free disk space or end what holds the database, and try again."
	}
	return &diag.Error{Code: code, Summary: fmt.Sprintf("run %s: %s", runID, doing), Detail: err.Error(), Hint: hint, Err: err}
}
