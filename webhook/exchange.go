package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// maxBody is the largest review that is judged. The API server takes 3 MiB of a request and sends the old object along, and
// JSON writes one byte of a text as up to six: admission.Webhook, which stops at 7 MiB, can be gone past, and what gets no
// answer the fail-open webhook lets in.
const maxBody = 40 << 20

// headBytes is how much of a review its uid stands in.
const headBytes = 4 << 10

var uidPattern = regexp.MustCompile(`"request":\s*\{\s*"uid":\s*"([0-9A-Za-z-]{1,64})"`)

// ServeHTTP reads an AdmissionReview and writes the answer to it. A review that is too large is answered with a denial by
// either webhook.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "application/json is wanted", http.StatusUnsupportedMediaType)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if errors.Is(err, errTurnedAway) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, errTurnedAway.Error(), http.StatusServiceUnavailable)
		return
	}
	if err != nil {
		http.Error(w, "the request cannot be read", http.StatusBadRequest)
		return
	}
	if len(body) > maxBody {
		uid := uidPattern.FindSubmatch(body[:headBytes])
		if uid == nil {
			http.Error(w, "the request is too large", http.StatusRequestEntityTooLarge)
			return
		}
		req := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{UID: types.UID(uid[1])}}
		write(w, req, h.answer(req, fmt.Sprintf("proviso cannot judge what takes more than %d MiB to send (make the object smaller)\ndecision %s", maxBody>>20, uid[1]), nil, "", ""))
		return
	}
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &review); err != nil || review.Request == nil {
		http.Error(w, "the request is no AdmissionReview with a request", http.StatusBadRequest)
		return
	}
	req := admission.Request{AdmissionRequest: *review.Request}
	ctx := context.WithValue(r.Context(), authenticatedKey{}, r.TLS != nil && len(r.TLS.VerifiedChains) > 0)
	write(w, req, h.Handle(ctx, req))
}

func write(w http.ResponseWriter, req admission.Request, answer admission.Response) {
	if err := answer.Complete(req); err != nil {
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	// What the caller does not take any more it will not miss.
	_ = json.NewEncoder(w).Encode(admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Response: &answer.AdmissionResponse})
}
