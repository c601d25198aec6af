package mango

import (
	"errors"
	"strings"
	"testing"
)

// TestSelectors holds every operator against documents, by CouchDB's rules.
func TestSelectors(t *testing.T) {
	t.Parallel()
	const film = `{"title":"Alien","year":1979,"score":8.5,"cast":["Weaver","Holm"],"studio":{"name":"Fox","since":1935},
		"ratings":[70,85,92],"awards":[{"name":"Oscar","won":true},{"name":"Hugo","won":false}],"empty":[],"none":null,"a.b":1,"$x":2,"flag":false}`
	for selector, want := range map[string]bool{
		`{}`:                                                    true,
		`{"title":"Alien"}`:                                     true,
		`{"title":"alien"}`:                                     false,
		`{"_id":"k"}`:                                           true,
		`{"title":"Alien","year":1979}`:                         true,
		`{"title":"Alien","year":1980}`:                         false,
		`{"year":1979.0}`:                                       true,
		`{"year":{"$eq":1979}}`:                                 true,
		`{"year":{"$ne":1980}}`:                                 true,
		`{"gone":{"$ne":1}}`:                                    false,
		`{"$not":{"gone":1}}`:                                   false,
		`{"$not":{"year":1980}}`:                                true,
		`{"year":{"$not":{"$eq":1979}}}`:                        false,
		`{"year":{"$gt":1970,"$lt":1980}}`:                      true,
		`{"year":{"$gt":1979}}`:                                 false,
		`{"year":{"$gte":1979}}`:                                true,
		`{"year":{"$lte":1978}}`:                                false,
		`{"year":{"$gt":null}}`:                                 true,
		`{"year":{"$lt":"a"}}`:                                  true,
		`{"cast":{"$gt":"zzz"}}`:                                true,
		`{"studio":{"$gt":["zzz"]}}`:                            true,
		`{"flag":{"$gt":null,"$lt":true}}`:                      true,
		`{"none":null}`:                                         true,
		`{"gone":null}`:                                         false,
		`{"none":{"$exists":true}}`:                             true,
		`{"gone":{"$exists":false}}`:                            true,
		`{"gone":{"$exists":true}}`:                             false,
		`{"$not":{"gone":{"$exists":true}}}`:                    true,
		`{"studio":{"name":"Fox"}}`:                             true,
		`{"studio":{"name":"Fox","since":1935}}`:                true,
		`{"studio.name":"Fox"}`:                                 true,
		`{"studio":{"$eq":{"name":"Fox"}}}`:                     false,
		`{"studio":{"$eq":{"since":1935,"name":"Fox"}}}`:        true,
		`{"studio":{}}`:                                         false,
		`{"a\\.b":1}`:                                           true,
		`{"a.b":1}`:                                             false,
		`{"\\$x":2}`:                                            true,
		`{"cast.1":"Holm"}`:                                     true,
		`{"cast.2":"Holm"}`:                                     false,
		`{"title.x":1}`:                                         false,
		`{"year":{"$in":[1978,1979]}}`:                          true,
		`{"year":{"$in":[]}}`:                                   false,
		`{"cast":{"$in":["Weaver"]}}`:                           true,
		`{"cast":{"$in":[["Weaver","Holm"]]}}`:                  false,
		`{"year":{"$nin":[1979]}}`:                              false,
		`{"year":{"$nin":[]}}`:                                  true,
		`{"gone":{"$nin":[1]}}`:                                 false,
		`{"cast":{"$nin":["Weaver"]}}`:                          false,
		`{"$not":{"year":{"$in":[1]}}}`:                         true,
		`{"cast":{"$all":["Holm","Weaver"]}}`:                   true,
		`{"cast":{"$all":["Holm","X"]}}`:                        false,
		`{"cast":{"$all":[]}}`:                                  false,
		`{"cast":{"$all":[["Weaver","Holm"]]}}`:                 true,
		`{"title":{"$all":["Alien"]}}`:                          false,
		`{"cast":{"$size":2}}`:                                  true,
		`{"cast":{"$size":1}}`:                                  false,
		`{"title":{"$size":5}}`:                                 false,
		`{"year":{"$type":"number"}}`:                           true,
		`{"none":{"$type":"null"}}`:                             true,
		`{"flag":{"$type":"boolean"}}`:                          true,
		`{"cast":{"$type":"array"}}`:                            true,
		`{"studio":{"$type":"object"}}`:                         true,
		`{"title":{"$type":"number"}}`:                          false,
		`{"year":{"$mod":[10,9]}}`:                              true,
		`{"year":{"$mod":[10,8]}}`:                              false,
		`{"score":{"$mod":[1,0]}}`:                              false,
		`{"title":{"$regex":"^Al.*n$"}}`:                        true,
		`{"title":{"$regex":"^x"}}`:                             false,
		`{"title":{"$not":{"$regex":"^x"}}}`:                    true,
		`{"year":{"$regex":"1"}}`:                               false,
		`{"title":{"$beginsWith":"Al"}}`:                        true,
		`{"ratings":{"$elemMatch":{"$gt":90}}}`:                 true,
		`{"ratings":{"$elemMatch":{"$gt":70,"$lt":80}}}`:        false,
		`{"ratings":{"$allMatch":{"$gte":70}}}`:                 true,
		`{"ratings":{"$allMatch":{"$gt":70}}}`:                  false,
		`{"empty":{"$allMatch":{"$gt":1}}}`:                     false,
		`{"empty":{"$elemMatch":{"$gt":1}}}`:                    false,
		`{"title":{"$elemMatch":{"$gt":1}}}`:                    false,
		`{"awards":{"$elemMatch":{"name":"Hugo","won":true}}}`:  false,
		`{"awards":{"$elemMatch":{"name":"Oscar","won":true}}}`: true,
		`{"awards":{"$elemMatch":{"$not":{"won":true}}}}`:       true,
		`{"awards":{"$not":{"$elemMatch":{"won":5}}}}`:          true,
		`{"studio":{"$keyMapMatch":{"$eq":"since"}}}`:           true,
		`{"studio":{"$keyMapMatch":{"$regex":"^z"}}}`:           false,
		`{"title":{"$keyMapMatch":{"$eq":"since"}}}`:            false,
		`{"$and":[{"title":"Alien"},{"year":{"$gt":1}}]}`:       true,
		`{"$and":[]}`:                                           true,
		`{"$or":[]}`:                                            true,
		`{"$nor":[]}`:                                           true,
		`{"$or":[{"year":1},{"title":"Alien"}]}`:                true,
		`{"$or":[{"year":1},{"title":"B"}]}`:                    false,
		`{"$nor":[{"year":1},{"title":"B"}]}`:                   true,
		`{"$nor":[{"year":1979},{"title":"B"}]}`:                false,
		`{"$not":{"$and":[{"year":1979},{"title":"B"}]}}`:       true,
		`{"$not":{"$or":[{"year":1979},{"title":"B"}]}}`:        false,
		`{"$not":{"$nor":[{"year":1979}]}}`:                     true,
		`{"$not":{"$not":{"year":1979}}}`:                       true,
		`{"year":{"$or":[{"$lt":1970},{"$gt":1975}]}}`:          true,
		`{"year":{"$and":[{"$lt":1970},{"$gt":1975}]}}`:         false,
		`{"year":{"$or":[1978,1979]}}`:                          true,
		`{"$not":{}}`:                                           false,
	} {
		q, err := ParseQuery([]byte(`{"selector":` + selector + `}`))
		if err != nil {
			t.Errorf("%s: %v", selector, err)
			continue
		}
		if got := q.Selector.Match(ParseDocument("k", []byte(film))); got != want {
			t.Errorf("%s: got %v, want %v", selector, got, want)
		}
	}
}

// TestValueWithoutObject selects what is no JSON object by its key alone.
func TestValueWithoutObject(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"", "\xff", "3", `[1]`, `"a"`, `{"a":1} x`} {
		d := ParseDocument("k", []byte(value))
		for selector, want := range map[string]bool{`{}`: true, `{"_id":"k"}`: true, `{"a":1}`: false} {
			q, err := ParseQuery([]byte(`{"selector":` + selector + `}`))
			if err != nil {
				t.Fatal(err)
			}
			if got := q.Selector.Match(d); got != want {
				t.Errorf("%s with the value %q: got %v, want %v", selector, value, got, want)
			}
		}
	}
}

// TestBadQueries refuses what CouchDB refuses, with its words, and what would cost too much.
func TestBadQueries(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"$not":`, maxDepth+1) + `{"a":1}` + strings.Repeat(`}`, maxDepth+1)
	wide := `{"$or":[` + strings.Repeat(`{"a":1},`, maxNodes) + `{"a":1}]}`
	for query, want := range map[string]string{
		``:                                                  "the query is not JSON",
		`{"selector":{}} {}`:                                "more than one JSON value",
		`[]`:                                                "not a JSON object",
		`{}`:                                                "missing_required_key",
		`{"selector":1}`:                                    "invalid_selector_json",
		`{"selector":{"":1}}`:                               "missing a field name",
		`{"selector":{"$gt":1}}`:                            "missing a field name",
		`{"selector":{"$and":[{"$gt":1}]}}`:                 "missing a field name",
		`{"selector":{"a":{"$foo":1}}}`:                     "Error:invalid_operator,  Status Code:400,  Reason:Invalid operator: $foo",
		`{"selector":{"$text":"x"}}`:                        "missing a field name",
		`{"selector":{"a":{"$in":5}}}`:                      "Bad argument for operator $in: 5",
		`{"selector":{"a":{"$nin":{}}}}`:                    "bad_arg",
		`{"selector":{"a":{"$all":1}}}`:                     "bad_arg",
		`{"selector":{"$and":{}}}`:                          "bad_arg",
		`{"selector":{"$or":[1]}}`:                          "bad_arg",
		`{"selector":{"$not":1}}`:                           "bad_arg",
		`{"selector":{"a":{"$exists":1}}}`:                  "bad_arg",
		`{"selector":{"a":{"$type":1}}}`:                    "bad_arg",
		`{"selector":{"a":{"$size":-1}}}`:                   "bad_arg",
		`{"selector":{"a":{"$size":1.5}}}`:                  "bad_arg",
		`{"selector":{"a":{"$mod":[0,1]}}}`:                 "bad_arg",
		`{"selector":{"a":{"$mod":[1]}}}`:                   "bad_arg",
		`{"selector":{"a":{"$regex":"("}}}`:                 "bad_arg",
		`{"selector":{"a":{"$regex":"(a)\\1"}}}`:            "bad_arg",
		`{"selector":{"a":{"$elemMatch":1}}}`:               "bad_arg",
		`{"selector":{},"limit":-1}`:                        "invalid_non_neg_integer",
		`{"selector":{},"skip":"1"}`:                        "invalid_non_neg_integer",
		`{"selector":{},"sort":"a"}`:                        "invalid_sort_json",
		`{"selector":{},"sort":[1]}`:                        "invalid_sort_field",
		`{"selector":{},"sort":[{"a":"up"}]}`:               "invalid_sort_dir",
		`{"selector":{},"sort":[{"a":"asc"},{"b":"desc"}]}`: "unsupported_mixed_sort",
		`{"selector":{},"fields":"a"}`:                      "fields definition must be an array",
		`{"selector":{},"fields":[1]}`:                      "invalid_fields_json",
		`{"selector":{},"use_index":1}`:                     "invalid_index_name",
		`{"selector":{},"bookmark":1}`:                      "invalid_bookmark",
		`{"selector":` + deep + `}`:                         "nested more than",
		`{"selector":` + wide + `}`:                         "more than 1000 conditions",
	} {
		_, err := ParseQuery([]byte(query))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: got %v, want %q", query, err, want)
		}
	}
	var e *Error
	if _, err := ParseQuery([]byte(`{"selector":{"a":{"$foo":1}}}`)); !errors.As(err, &e) || e.Code != "invalid_operator" {
		t.Errorf("the error is %v, want an *Error", err)
	}
}

// FuzzParseQuery looks for a query that cannot be matched.
func FuzzParseQuery(f *testing.F) {
	f.Add([]byte(`{"selector":{"a":{"$gt":1},"$or":[{"b":{"$in":[1,"x"]}},{"$not":{"c":{"$elemMatch":{"$eq":null}}}}]},"sort":["a"],"fields":["a.b"],"limit":3}`), []byte(`{"a":2,"c":[null]}`))
	f.Add([]byte(`{"selector":{"a":1e999}}`), []byte(`{"a":1e-999}`))
	index, err := ParseIndex([]byte(`{"index":{"fields":["a",{"b":"asc"}]},"ddoc":"d","name":"n","type":"json"}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query, value []byte) {
		q, err := ParseQuery(query)
		if err != nil {
			return
		}
		d := ParseDocument("key", value)
		selected := q.Selector.Match(d)
		plan, err := q.Plan([]*Index{index})
		if err != nil {
			return
		}
		if _, err := q.Project(d, value); err != nil {
			t.Fatal(err)
		}
		if plan.Index == nil || !selected {
			return
		}
		entry, ok := index.Entry(d)
		if len(q.Sort) == 0 && (!ok || entry < plan.Start || plan.End != "" && entry >= plan.End) {
			t.Fatalf("%s selects %s, which its plan [%q, %q) leaves out: %q, %v", query, value, plan.Start, plan.End, entry, ok)
		}
	})
}
