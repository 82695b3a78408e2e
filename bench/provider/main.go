// Provider answers OpenAI chat requests with a fixed text and usage, whole or as a stream of events.
//
// A stand-in: no model thinks here, so what is measured in front of it is the gateway alone.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
)

const (
	events   = 20
	searched = 64 << 10
	answer   = "The loop stops one element early: the guard compares the index with the length of the wrong list. "
	usage    = `{"prompt_tokens":712,"completion_tokens":180,"total_tokens":892,"prompt_tokens_details":{"cached_tokens":512}}`
	base     = `{"id":"chatcmpl-bench","object":"%s","created":1764000000,"model":"mock-large-2026-01-01","choices":[`
)

var (
	whole    = []byte(fmt.Sprintf(base, "chat.completion") + `{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"` + strings.Repeat(answer, 8) + `"}}],"usage":` + usage + `}`)
	streamed = eventsOf()
	// Gateways write the field with and without a space.
	asked   = [][]byte{[]byte(`"stream":true`), []byte(`"stream": true`)}
	buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
)

func eventsOf() [][]byte {
	head := "data: " + fmt.Sprintf(base, "chat.completion.chunk")
	var all [][]byte
	for range events {
		all = append(all, []byte(head+`{"index":0,"delta":{"content":"`+answer+`"},"finish_reason":null}]}`+"\n\n"))
	}
	return append(all,
		[]byte(head+`{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\n"),
		[]byte(strings.TrimSuffix(head, "[")+`[],"usage":`+usage+"}\n\ndata: [DONE]\n\n"))
}

// wantsStream tells whether a stream was asked for; only small requests do, and searching large ones takes time.
func wantsStream(body []byte) bool {
	return len(body) < searched && (bytes.Contains(body, asked[0]) || bytes.Contains(body, asked[1]))
}

func serve(w http.ResponseWriter, r *http.Request) {
	body := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(body)
	body.Reset()
	if _, err := io.Copy(body, r.Body); err != nil {
		return
	}
	if wantsStream(body.Bytes()) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, event := range streamed {
			// An error means that the caller hung up, which ends the answer.
			if _, err := w.Write(event); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
		}
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(whole)
}

func main() {
	address := flag.String("listen", "127.0.0.1:0", "address")
	flag.Parse()
	log.Fatal(http.ListenAndServe(*address, http.HandlerFunc(serve)))
}
