package walk

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// A Walk is a script.
type Walk struct {
	intro string // what stands before the first step
	steps []step
}

// A step is one request and what was answered.
type step struct {
	name  string // with its tags
	notes string // lines for people, before the request

	as           string // whose key it sends; empty: the first
	keys, repeat bool

	deploy *Deployment // or a request:
	method string
	path   string
	header [][2]string
	body   string

	status int
	answer string // lines
}

// A Deployment is what a step wants to be deployed.
type Deployment struct {
	Contract      string // a directory of contracts/
	Name, Channel string
	Policy        string // empty: the channel's majority
}

var (
	tag        = regexp.MustCompile(`\[(as \w+|keys|until)\]`)
	deployment = regexp.MustCompile(`^deploy (\S+) as (\S+) on (\S+)(?: policy (.+))?$`)
	request    = regexp.MustCompile(`^(GET|POST|DELETE|PUT|HEAD) (/\S*)$`)
	headerLine = regexp.MustCompile(`^([A-Z][A-Za-z-]*): (.+)$`)
	answerLine = regexp.MustCompile(`^=> (\d{3})$`)
	repetition = regexp.MustCompile(`<(.)\*(\d+)>`)
)

// Parse reads a script. The error names the line that is wrong.
func Parse(text string) (*Walk, error) {
	w := &Walk{}
	var now *step
	const (
		notes = iota
		body
		answer
	)
	part := notes
	for n, line := range strings.SplitAfter(text, "\n") {
		plain := strings.TrimSuffix(line, "\n")
		name, begins := strings.CutPrefix(plain, "-- ")
		switch {
		case begins:
			w.steps = append(w.steps, step{name: name})
			now, part = &w.steps[len(w.steps)-1], notes
			for _, t := range tag.FindAllStringSubmatch(name, -1) {
				now.keys = now.keys || t[1] == "keys"
				now.repeat = now.repeat || t[1] == "until"
				if key, ok := strings.CutPrefix(t[1], "as "); ok {
					now.as, now.keys = key, true
				}
			}
		case now == nil:
			w.intro += line
		case answerLine.MatchString(plain) && part == body:
			now.status, _ = strconv.Atoi(answerLine.FindStringSubmatch(plain)[1])
			part = answer
		case part == answer:
			now.answer += line
		case part == notes && (plain == "" || strings.HasPrefix(plain, "#")):
			now.notes += line
		case part == notes:
			if err := now.begin(plain); err != nil {
				return nil, fmt.Errorf("line %d: %w", n+1, err)
			}
			part = body
		case plain == "":
		case now.deploy != nil:
			return nil, fmt.Errorf("line %d: a deployment has no more than its line", n+1)
		default:
			if h := headerLine.FindStringSubmatch(plain); h != nil && now.body == "" {
				now.header = append(now.header, [2]string{h[1], h[2]})
				continue
			}
			now.body += line
		}
	}
	for i := range w.steps {
		s := &w.steps[i]
		if s.deploy == nil && s.method == "" {
			return nil, fmt.Errorf("step %q has no request", s.name)
		}
		s.answer = strings.TrimSpace(s.answer)
		s.body = strings.TrimSpace(s.body)
	}
	return w, nil
}

// begin reads the line that says what a step does.
func (s *step) begin(line string) error {
	if d := deployment.FindStringSubmatch(line); d != nil {
		s.deploy = &Deployment{Contract: d[1], Name: d[2], Channel: d[3], Policy: d[4]}
		return nil
	}
	r := request.FindStringSubmatch(line)
	if r == nil {
		return fmt.Errorf("want a method and a path, or a deployment, not %q", line)
	}
	s.method, s.path = r[1], r[2]
	return nil
}

// write writes the step as it stands in a script.
func (s *step) write(out *strings.Builder) {
	fmt.Fprintf(out, "-- %s\n%s", s.name, s.notes)
	if d := s.deploy; d != nil {
		fmt.Fprintf(out, "deploy %s as %s on %s", d.Contract, d.Name, d.Channel)
		if d.Policy != "" {
			fmt.Fprintf(out, " policy %s", d.Policy)
		}
		out.WriteString("\n\n")
		return
	}
	fmt.Fprintf(out, "%s %s\n", s.method, s.path)
	for _, h := range s.header {
		fmt.Fprintf(out, "%s: %s\n", h[0], h[1])
	}
	if s.body != "" {
		out.WriteString(s.body + "\n")
	}
	fmt.Fprintf(out, "=> %d\n", s.status)
	if s.answer != "" {
		out.WriteString(s.answer + "\n")
	}
	out.WriteString("\n")
}

// String returns the script.
func (w *Walk) String() string {
	var out strings.Builder
	out.WriteString(w.intro)
	for i := range w.steps {
		w.steps[i].write(&out)
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

// expand writes out the repetitions of a text.
func expand(text string) string {
	return repetition.ReplaceAllStringFunc(text, func(match string) string {
		parts := repetition.FindStringSubmatch(match)
		n, err := strconv.Atoi(parts[2])
		if err != nil {
			return match
		}
		return strings.Repeat(parts[1], n)
	})
}
