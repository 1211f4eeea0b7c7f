package wire

import (
	"time"

	artifactstorev1 "github.com/cairn-stack/cairn/proto/cairn/plugin/artifactstore/v1"
	commonv1 "github.com/cairn-stack/cairn/proto/cairn/plugin/common/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// Transfer says how a file changes hands.
type Transfer string

// The transfers.
const (
	// TransferCopy is a private copy.
	TransferCopy Transfer = "copy"
	// TransferMove gives the file up (put).
	TransferMove Transfer = "move"
	// TransferView is read-only, and may be the stored file itself (get).
	TransferView Transfer = "view"
)

// PutItem is a file to store under a key.
type PutItem struct {
	Key      string
	Path     string
	Size     int64
	Digest   string
	Transfer Transfer
}

// GetItem is an object to bring to a path.
type GetItem struct {
	Key  string
	Path string
	// Size that is expected.
	Size     int64
	Transfer Transfer
}

// Object is what a store knows of a key.
type Object struct {
	Key  string
	Size int64
	// Digest as it was put; empty where the store cannot keep it.
	Digest   string
	Modified time.Time
}

// ItemResult is what became of one item.
type ItemResult struct {
	// Err is nil on success.
	Err    *diag.PluginError
	Object Object
	// Path of a got file.
	Path string
}

// Progress is a sign of life of a long call.
type Progress struct {
	Done int64
	// Total is 0 where it is not known.
	Total   int64
	Unit    string
	Message string
}

// TransferToProto converts a transfer; an empty one is a copy.
func TransferToProto(t Transfer) artifactstorev1.Transfer {
	switch t {
	case TransferMove:
		return artifactstorev1.Transfer_TRANSFER_MOVE
	case TransferView:
		return artifactstorev1.Transfer_TRANSFER_VIEW
	}
	return artifactstorev1.Transfer_TRANSFER_COPY
}

// TransferFromProto converts a transfer; an unknown one is a copy, which is
// always safe.
func TransferFromProto(t artifactstorev1.Transfer) Transfer {
	switch t {
	case artifactstorev1.Transfer_TRANSFER_MOVE:
		return TransferMove
	case artifactstorev1.Transfer_TRANSFER_VIEW:
		return TransferView
	}
	return TransferCopy
}

// ObjectToProto converts an object.
func ObjectToProto(o Object) *artifactstorev1.Object {
	p := &artifactstorev1.Object{Key: o.Key, Size: o.Size, Digest: o.Digest}
	if !o.Modified.IsZero() {
		p.ModifiedUs = o.Modified.UnixMicro()
	}
	return p
}

// ObjectFromProto converts an object; it checks nothing.
func ObjectFromProto(p *artifactstorev1.Object) Object {
	o := Object{Key: p.GetKey(), Size: p.GetSize(), Digest: p.GetDigest()}
	if us := p.GetModifiedUs(); us != 0 {
		o.Modified = time.UnixMicro(us).UTC()
	}
	return o
}

// ItemResultToProto converts a result; one with an error carries nothing else.
func ItemResultToProto(r ItemResult) *artifactstorev1.ItemResult {
	if r.Err != nil {
		return &artifactstorev1.ItemResult{Error: ErrorToProto(r.Err)}
	}
	return &artifactstorev1.ItemResult{Object: ObjectToProto(r.Object), Path: r.Path}
}

// ItemResultFromProto converts a result; it checks nothing.
func ItemResultFromProto(p *artifactstorev1.ItemResult) ItemResult {
	if p.GetError() != nil {
		return ItemResult{Err: ErrorFromProto(p.GetError())}
	}
	return ItemResult{Object: ObjectFromProto(p.GetObject()), Path: p.GetPath()}
}

// ProgressToProto converts a sign of life.
func ProgressToProto(p Progress) *commonv1.Progress {
	return &commonv1.Progress{Done: p.Done, Total: p.Total, Unit: truncate(p.Unit, 40), Message: truncate(p.Message, 500)}
}

// ProgressFromProto converts a sign of life.
func ProgressFromProto(p *commonv1.Progress) Progress {
	return Progress{
		Done: max(0, p.GetDone()), Total: max(0, p.GetTotal()),
		Unit: clean(p.GetUnit(), 40), Message: clean(p.GetMessage(), 500),
	}
}

// PutItemToProto converts an item.
func PutItemToProto(i PutItem) *artifactstorev1.PutItem {
	return &artifactstorev1.PutItem{
		Key: i.Key, Path: i.Path, Size: i.Size, Digest: i.Digest, Transfer: TransferToProto(i.Transfer),
	}
}

// PutItemFromProto converts an item; it checks nothing.
func PutItemFromProto(p *artifactstorev1.PutItem) PutItem {
	return PutItem{
		Key: p.GetKey(), Path: p.GetPath(), Size: p.GetSize(), Digest: p.GetDigest(), Transfer: TransferFromProto(p.GetTransfer()),
	}
}

// GetItemToProto converts an item.
func GetItemToProto(i GetItem) *artifactstorev1.GetItem {
	return &artifactstorev1.GetItem{Key: i.Key, Path: i.Path, Size: i.Size, Transfer: TransferToProto(i.Transfer)}
}

// GetItemFromProto converts an item; it checks nothing.
func GetItemFromProto(p *artifactstorev1.GetItem) GetItem {
	return GetItem{Key: p.GetKey(), Path: p.GetPath(), Size: p.GetSize(), Transfer: TransferFromProto(p.GetTransfer())}
}
