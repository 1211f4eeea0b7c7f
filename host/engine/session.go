package engine

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/internal/fault"
	"github.com/cairn-stack/cairn/sdk/artifact"
	"github.com/cairn-stack/cairn/sdk/diag"
)

const (
	// firstSession is the least time that a program has to open its session.
	firstSession = time.Minute
	// maxPoll bounds a NextJob.
	maxPoll = 25 * time.Second
	// stopAgain is when a program is told again to stop what it still holds.
	stopAgain = 5 * time.Second
)

// session is the program of a run.
type session struct {
	name string
	// open: its stream stands. Else it was lost at lostAt, and the run is
	// interrupted after grace.
	open   bool
	lostAt time.Time
	grace  time.Duration
	// turn counts the openings, so that an old stream's end is told apart.
	turn int
	// free is what the last poll said.
	free int
	// stopped is when the program was told to stop an attempt.
	stopped map[string]time.Time
}

func (s *session) expires() time.Time {
	if s.open {
		return time.Time{}
	}
	return s.lostAt.Add(s.grace)
}

// poll is a NextJob call that waits.
type poll struct {
	req   JobRequest
	reply chan pollReply
}

type pollReply struct {
	reply JobReply
	err   error
}

// answer never blocks: a poll is answered once.
func (p *poll) answer(reply JobReply, err error) { p.reply <- pollReply{reply, err} }

// openSession binds a program; called by loop.
func (r *run) openSession(name string, now time.Time) (turn int, err error) {
	if r.leaving != nil {
		return 0, r.leaving
	}
	if r.sess.open && r.sess.name != name {
		return 0, diag.Errorf(diag.Refused, "run %s has a program already", r.id).
			WithHint("End that program first, or wait until it is done.")
	}
	if r.sess.name != "" && r.sess.name != name {
		r.losePrograms("its program was replaced by another one", now)
	}
	r.sess = session{name: name, open: true, turn: r.sess.turn + 1, stopped: map[string]time.Time{}}
	if p := r.early; p != nil {
		r.early = nil
		r.addPoll(p, now)
	}
	return r.sess.turn, nil
}

// endSession notes that a program's stream ended; called by loop.
func (r *run) endSession(turn int, now time.Time) {
	if r.sess.turn != turn || !r.sess.open {
		return
	}
	r.log.Info("the program's session ended")
	r.sess.open, r.sess.lostAt, r.sess.grace = false, now, r.e.cfg.SessionGrace
	if r.poll != nil {
		r.poll.answer(JobReply{}, nil)
		r.poll = nil
	}
	r.adoptStanding()
}

// sessionTick interrupts the run of a program that did not come back.
func (r *run) sessionTick(now time.Time) {
	if t := r.sess.expires(); !t.IsZero() && !t.After(now) {
		r.leave(errInterrupted(r.id, "its program is gone"), now)
	}
}

// leave lets go of the run because its program is gone: results that stand are
// looked at, the other attempts are lost, nothing is begun.
func (r *run) leave(why error, now time.Time) {
	if r.leaving != nil {
		return
	}
	r.leaving, r.m.idle, r.lazyAt = why, true, now
	r.losePrograms("its program ended", now)
	r.m.settle(now)
}

// losePrograms loses the attempts that a program was given, but for those whose
// result stands.
func (r *run) losePrograms(why string, now time.Time) {
	r.adoptStanding()
	for _, a := range r.m.sorted() {
		switch {
		case a.offered:
		case a.given:
			r.m.lose(a, why, now)
			r.dropFiles(a)
		}
	}
	for id := range r.zombies {
		r.release(id)
	}
	if !r.m.idle {
		r.m.settle(now)
	}
}

// adoptStanding looks at the results of attempts whose program cannot say that
// they stand.
func (r *run) adoptStanding() {
	for _, a := range r.m.sorted() {
		if a.given && !a.offered && r.resultStands(a) {
			r.startOffer(a)
		}
	}
}

func (r *run) resultStands(a *attempt) bool {
	_, err := os.Lstat(filepath.Join(r.dir(a.id), artifact.ResultFile))
	return err == nil
}

// hungTick ends a run that cannot go on, because fenced attempts hold every
// slot.
func (r *run) hungTick(now time.Time) {
	if len(r.zombies) == 0 || r.m.occupied() > 0 || r.offers > 0 || len(r.m.ready(now)) == 0 || r.slots() > 0 || r.poll == nil {
		return
	}
	var names []string
	for id := range r.zombies {
		names = append(names, "'"+r.m.attempts[id].step.node.Name+"'")
	}
	slices.Sort(names)
	r.m.hang(strings.Join(slices.Compact(names), ", "), now)
}

// slots is how many more attempts a program may be given now.
func (r *run) slots() int {
	n := r.sess.free
	for _, a := range r.m.live {
		if a.taken && !a.given {
			n--
		}
	}
	if limit := r.stack.Orchestrator().Facts().MaxParallel; limit > 0 {
		n = min(n, limit-r.m.occupied()-len(r.zombies))
	}
	return n
}

// addPoll takes a program's turn; called by loop.
func (r *run) addPoll(p *poll, now time.Time) {
	if !r.sess.open {
		// The stream may come after the first poll.
		if r.early != nil {
			r.early.answer(JobReply{}, nil)
		}
		r.early = p
		return
	}
	if p.req.Session != r.sess.name {
		p.answer(JobReply{}, diag.Errorf(diag.Refused, "run %s has another program: its session is not %q", r.id, p.req.Session))
		return
	}
	if r.poll != nil {
		r.poll.answer(JobReply{}, nil)
	}
	r.poll = p
	r.sess.free = p.req.FreeSlots
	held := make(map[string]bool, len(p.req.Held))
	for _, id := range p.req.Held {
		held[id] = true
	}
	for id := range r.zombies {
		if !held[id] {
			r.release(id)
		}
	}
	for _, a := range r.m.sorted() {
		if !a.given || a.offered || held[a.id] {
			continue
		}
		// The answer that gave it was lost, or the program is done with it and
		// its CompleteJob is on its way.
		if r.resultStands(a) {
			r.startOffer(a)
		} else if job := r.jobs[a.id]; job != nil {
			job.told = false
		}
	}
}

// release notes that a program let go of a fenced attempt.
func (r *run) release(id string) {
	delete(r.zombies, id)
	if a := r.m.attempts[id]; a != nil {
		r.dropFiles(a)
	}
}

// fence notes that an attempt was ended while a program runs it.
func (r *run) fence(a *attempt) {
	if a.given && r.sess.open {
		r.zombies[a.id] = true
		return
	}
	r.dropFiles(a)
}

// dispatch makes attempts ready for a program that waits for them.
func (r *run) dispatch(now time.Time) {
	if r.poll == nil || r.leaving != nil {
		return
	}
	n := r.slots()
	if n <= 0 {
		return
	}
	for _, a := range r.m.ready(now) {
		if n--; n < 0 {
			return
		}
		a.taken = true
		r.prepare(a)
	}
}

// serve answers the waiting poll where there is something to say.
func (r *run) serve(now time.Time) {
	if r.poll == nil {
		return
	}
	var reply JobReply
	free := r.poll.req.FreeSlots
	for _, a := range r.m.sorted() {
		job := r.jobs[a.id]
		if job == nil || job.told || a.offered || len(reply.Start) >= free {
			continue
		}
		if !a.given {
			r.addLazy(r.m.give(a, job.Incarnation, now), now)
		}
		job.told = true
		reply.Start = append(reply.Start, job.Job)
	}
	for _, id := range r.poll.req.Held {
		a := r.m.attempts[id]
		// An attempt that is being published is not stopped.
		if a == nil || a.state.Final() && a.state != model.AttemptCompleted || !a.state.Final() && !a.stopBy.IsZero() && !a.offered {
			if now.Sub(r.sess.stopped[id]) >= stopAgain {
				r.sess.stopped[id] = now
				reply.Stop = append(reply.Stop, id)
			}
		}
	}
	if len(reply.Start) == 0 && len(reply.Stop) == 0 {
		return
	}
	if len(reply.Start) > 0 {
		if err := fault.Hit("engine.job.handed-out"); err != nil {
			r.broken(err)
			return
		}
	}
	r.poll.answer(reply, nil)
	r.poll = nil
}
