package launch

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Limits of what is kept of a plugin's standard error.
const (
	// maxLine is where a line is cut.
	maxLine = 16 << 10
	// burst lines, and perSecond more each second, are passed on; the rest is
	// counted.
	burst     = 2000
	perSecond = 500
	// keptLines of keptLine bytes are kept for a post-mortem.
	keptLines = 50
	keptLine  = 500
	maxAttrs  = 32
	maxValue  = 1 << 10
)

// LevelTrace is below slog's debug, for hclog's trace.
const LevelTrace = slog.LevelDebug - 4

// logPump reads a plugin's standard error to its end: lines of hclog's JSON
// become records, others are passed on as text. It never stops reading, so the
// plugin never blocks on it.
type logPump struct {
	logger *slog.Logger

	mu   sync.Mutex
	kept []string

	tokens  float64
	filled  time.Time
	dropped int
	panics  bool
}

func newLogPump(l *slog.Logger) *logPump {
	return &logPump{logger: l, tokens: burst, filled: time.Now()}
}

// run reads r until its end.
func (p *logPump) run(r io.Reader) {
	br := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := br.ReadSlice('\n')
		cut := errors.Is(err, bufio.ErrBufferFull)
		if len(line) > 0 {
			p.line(strings.TrimRight(string(line), "\r\n"), cut)
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = br.ReadSlice('\n')
		}
		if err != nil {
			p.reportDropped()
			return
		}
	}
}

// last gives the kept lines, oldest first.
func (p *logPump) last() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.kept)
}

func (p *logPump) keep(line string) {
	if len(line) > keptLine {
		line = line[:keptLine] + "..."
	}
	line = printable(line)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.kept) == keptLines {
		p.kept = slices.Delete(p.kept, 0, 1)
	}
	p.kept = append(p.kept, line)
}

func (p *logPump) line(text string, cut bool) {
	if text == "" {
		return
	}
	record, ok := parseRecord(text, cut)
	if ok {
		p.panics = false
	} else {
		if strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ") {
			p.panics = true
		}
		record = logRecord{level: levelOfText(text, p.panics), message: printable(text)}
	}
	p.keep(record.String())
	if !p.allow() {
		p.dropped++
		return
	}
	p.reportDropped()
	p.logger.LogAttrs(context.Background(), record.level, record.message, record.attrs...)
}

// allow is a token bucket.
func (p *logPump) allow() bool {
	now := time.Now()
	p.tokens = min(burst, p.tokens+now.Sub(p.filled).Seconds()*perSecond)
	p.filled = now
	if p.tokens < 1 {
		return false
	}
	p.tokens--
	return true
}

func (p *logPump) reportDropped() {
	if p.dropped > 0 {
		p.logger.Warn("the plugin logs too much; lines were dropped", "lines", p.dropped)
		p.dropped = 0
	}
}

type logRecord struct {
	level   slog.Level
	message string
	attrs   []slog.Attr
}

// String is the record on one line, as a post-mortem shows it.
func (r logRecord) String() string {
	var b strings.Builder
	b.WriteString(r.message)
	for _, a := range r.attrs {
		fmt.Fprintf(&b, " %s=%s", a.Key, a.Value)
	}
	return b.String()
}

// parseRecord reads a line of hclog's JSON. Anything else, and JSON of other
// types than hclog's, is not one.
func parseRecord(text string, cut bool) (logRecord, bool) {
	if cut || !strings.HasPrefix(text, "{") {
		return logRecord{}, false
	}
	var raw map[string]any
	if json.Unmarshal([]byte(text), &raw) != nil {
		return logRecord{}, false
	}
	message, ok := raw["@message"].(string)
	if !ok {
		return logRecord{}, false
	}
	level, _ := raw["@level"].(string)
	r := logRecord{level: levelOfName(level), message: printable(message)}
	if module, ok := raw["@module"].(string); ok {
		r.attrs = append(r.attrs, slog.String("module", limitValue(module)))
	}
	for _, k := range slices.Sorted(maps.Keys(raw)) {
		if strings.HasPrefix(k, "@") {
			continue
		}
		if len(r.attrs) == maxAttrs {
			break
		}
		r.attrs = append(r.attrs, slog.String(limitValue(k), valueText(raw[k])))
	}
	return r, true
}

func valueText(v any) string {
	if s, ok := v.(string); ok {
		return limitValue(s)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return limitValue(string(b))
}

func limitValue(s string) string {
	if len(s) > maxValue {
		s = s[:maxValue] + "..."
	}
	return printable(s)
}

func levelOfName(name string) slog.Level {
	switch strings.ToLower(name) {
	case "trace":
		return LevelTrace
	case "info":
		return slog.LevelInfo
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	return slog.LevelDebug
}

func levelOfText(text string, panics bool) slog.Level {
	if panics {
		return slog.LevelError
	}
	if end := strings.IndexByte(text, ']'); strings.HasPrefix(text, "[") && end > 0 {
		return levelOfName(text[1:end])
	}
	return slog.LevelDebug
}

// printable replaces what could steer a terminal, and bytes that are not UTF-8.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && unicode.IsControl(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
