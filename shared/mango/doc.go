// Package mango is CouchDB's query language over JSON documents: selectors, sorting, projections, indexes and the choice among
// them. It reads no database: it parses, compares and matches values, and says which keys of which index hold what a query
// wants.
//
// What it follows: CouchDB 3's documentation of Mango queries and of view collation, and where that is silent what CouchDB does.
// A condition on a field that a document lacks is false, also a negated one: only {"$exists": false} holds. So {"$not": {"a": 1}}
// selects the documents that have an a, and another one.
//
// What differs, and why:
//   - Regular expressions are Go's (RE2): they take time linear in the text, whatever the pattern. Back references and
//     look-around, which CouchDB's PCRE knows, are refused as a bad argument.
//   - Strings collate by golang.org/x/text's root collation. ICU's, which CouchDB uses, orders a few punctuation marks otherwise.
//   - $text and the operators of CouchDB's text indexes are refused, as CouchDB does without its search plugin.
package mango
