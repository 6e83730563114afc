package webhook

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync/atomic"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Authority is own mode: a certificate authority in one named Secret that all replicas share, and a leaf that each signs for
// itself and keeps in memory. A new authority is published beside the old one before anybody uses it, and the old one stays
// published until nobody does. Its fields are set before its first use.
type Authority struct {
	// Client reads and writes the Secret and the webhook configuration; it must not cache.
	Client client.Client
	// Namespace and Secret name the Secret, which must be there; Hosts are the names and addresses the leaf is for; Configuration is the
	// ValidatingWebhookConfiguration whose webhooks carry the bundle.
	Namespace, Secret, Configuration string
	Hosts                            []string
	// CALife and LeafLife are how long certificates are valid: 0 is a year and a week. Overlap is how long two authorities
	// are published together before the new one is used, and again before the old one goes: 0 is ten minutes.
	CALife, LeafLife, Overlap time.Duration
	Now                       func() time.Time
	Metrics                   *Metrics

	state atomic.Pointer[authorityState]
}

type authorityState struct {
	leaf      *tls.Certificate
	authority *x509.Certificate
	bundle    []byte
}

// The keys of the Secret.
const (
	caCert, caKey     = "ca.crt", "ca.key"
	nextCert, nextKey = "next.crt", "next.key"
	oldCert           = "old.crt"
	// since is when the Secret last changed.
	since = "since"
)

// maxPEM bounds what is parsed: PEM parsing can be slow on purpose.
const maxPEM = 64 << 10

func (a *Authority) life() (ca, leaf, overlap time.Duration) {
	or := func(d, otherwise time.Duration) time.Duration {
		if d > 0 {
			return d
		}
		return otherwise
	}
	return or(a.CALife, 365*24*time.Hour), or(a.LeafLife, 7*24*time.Hour), or(a.Overlap, 10*time.Minute)
}

// GetCertificate is for tls.Config.
func (a *Authority) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s := a.state.Load()
	if s == nil {
		return nil, errors.New("there is no certificate yet")
	}
	return s.leaf, nil
}

// Bundle is what is published; empty before anything is.
func (a *Authority) Bundle() []byte {
	if s := a.state.Load(); s != nil {
		return s.bundle
	}
	return nil
}

// expires is when the authority that signed the leaf expires; zero before there is one.
func (a *Authority) expires() time.Time {
	if s := a.state.Load(); s != nil {
		return s.authority.NotAfter
	}
	return time.Time{}
}

// lookEvery is how often Secret and webhook configuration are looked at: where somebody puts the configuration back as it was
// printed, without a bundle, calls fail until we publish it.
const lookEvery = 2 * time.Second

// Start keeps authority, bundle and leaf in order until the context ends. It logs what is wrong once, not at every look.
func (a *Authority) Start(ctx context.Context, log func(error)) error {
	if err := a.Metrics.expires("ca", a.expires); err != nil {
		return fmt.Errorf("keep certificates: %w", err)
	}
	_, leaf, overlap := a.life()
	tick := time.NewTicker(max(min(leaf/20, overlap/5, lookEvery), 10*time.Millisecond))
	defer tick.Stop()
	told := ""
	for {
		err := a.step(ctx)
		if why := fmt.Sprint(err); err != nil && why != told && ctx.Err() == nil {
			log(fmt.Errorf("keep certificates: %w", err))
		}
		told = fmt.Sprint(err)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// step brings Secret, webhook configuration and leaf one step further; to be called again and again, by every replica.
func (a *Authority) step(ctx context.Context) error {
	var secret corev1.Secret
	if err := a.Client.Get(ctx, client.ObjectKey{Namespace: a.Namespace, Name: a.Secret}, &secret); err != nil {
		return fmt.Errorf("get Secret %s: %w", a.Secret, err)
	}
	published, err := a.publish(ctx, bundleOf(&secret))
	if err != nil {
		return err
	}
	changed, err := a.advance(&secret, published)
	if err != nil {
		return fmt.Errorf("read Secret %s: %w (empty its data, and a new authority is made)", a.Secret, err)
	}
	if changed {
		if err := a.Client.Update(ctx, &secret); apierrors.IsConflict(err) {
			return nil // another replica was first; its state is read at the next step
		} else if err != nil {
			return fmt.Errorf("update Secret %s: %w", a.Secret, err)
		}
		if published, err = a.publish(ctx, bundleOf(&secret)); err != nil {
			return err
		}
	}
	return a.sign(&secret, published)
}

func bundleOf(secret *corev1.Secret) []byte {
	var b []byte
	for _, key := range []string{caCert, nextCert, oldCert} {
		b = append(b, secret.Data[key]...)
	}
	return b
}

// publish writes the bundle into the webhook configuration, and answers what is there.
func (a *Authority) publish(ctx context.Context, bundle []byte) ([]byte, error) {
	if len(bundle) == 0 {
		return nil, nil
	}
	var c admissionregistrationv1.ValidatingWebhookConfiguration
	err := a.Client.Get(ctx, client.ObjectKey{Name: a.Configuration}, &c)
	if apierrors.IsNotFound(err) {
		return bundle, nil // the glass was broken: nobody verifies us, and whoever puts it back finds us serving
	}
	if err != nil {
		return nil, fmt.Errorf("get ValidatingWebhookConfiguration %s: %w", a.Configuration, err)
	}
	same := true
	for i := range c.Webhooks {
		if !bytes.Equal(c.Webhooks[i].ClientConfig.CABundle, bundle) {
			same, c.Webhooks[i].ClientConfig.CABundle = false, bundle
		}
	}
	if same {
		return bundle, nil
	}
	if err := a.Client.Update(ctx, &c); apierrors.IsConflict(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("publish the CA bundle in %s: %w", a.Configuration, err)
	}
	return bundle, nil
}

// advance moves the Secret on where it is time to: from none to one authority; to a next one beside it; to the next one in
// place of the old; to the old one gone.
func (a *Authority) advance(secret *corev1.Secret, published []byte) (bool, error) {
	life, _, overlap := a.life()
	now := a.Now()
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	d := secret.Data
	stamp := func() { d[since] = []byte(now.UTC().Format(time.RFC3339Nano)) }
	if len(d[caCert]) == 0 && len(d[caKey]) == 0 {
		var err error
		d[caCert], d[caKey], err = newAuthority(now, life)
		stamp()
		return true, err
	}
	current, _, err := pair(d[caCert], d[caKey])
	if err != nil {
		return false, err
	}
	changed, err := time.Parse(time.RFC3339Nano, string(d[since]))
	if err != nil {
		return false, fmt.Errorf("%s: %w", since, err)
	}
	waited := now.Sub(changed) >= overlap
	switch {
	case now.After(current.NotAfter):
		// Nobody could call us any more: there is nothing to overlap with.
		d[caCert], d[caKey], err = newAuthority(now, life)
		delete(d, nextCert)
		delete(d, nextKey)
		delete(d, oldCert)
	case len(d[nextCert]) > 0 && waited && bytes.Contains(published, d[nextCert]):
		d[oldCert], d[caCert], d[caKey] = d[caCert], d[nextCert], d[nextKey]
		delete(d, nextCert)
		delete(d, nextKey)
	case len(d[oldCert]) > 0 && waited:
		delete(d, oldCert)
	case len(d[nextCert]) == 0 && len(d[oldCert]) == 0 && now.After(current.NotBefore.Add(life*2/3)):
		d[nextCert], d[nextKey], err = newAuthority(now, life)
	default:
		return false, nil
	}
	stamp()
	return true, err
}

// sign makes this replica's leaf where it has none of the present authority, or a third of its life is left.
func (a *Authority) sign(secret *corev1.Secret, published []byte) error {
	_, life, _ := a.life()
	now := a.Now()
	authority, key, err := pair(secret.Data[caCert], secret.Data[caKey])
	if err != nil {
		return fmt.Errorf("read Secret %s: %w", a.Secret, err)
	}
	last := a.state.Load()
	if !bytes.Contains(published, secret.Data[caCert]) {
		return nil // what is not published yet may not be served
	}
	state := &authorityState{authority: authority, bundle: published}
	if last != nil && last.authority.Equal(authority) && now.Before(last.leaf.Leaf.NotAfter.Add(-life/3)) {
		state.leaf = last.leaf
	} else if state.leaf, err = newLeaf(authority, key, a.Hosts, now, life); err != nil {
		return err
	}
	a.state.Store(state)
	return nil
}

// backdated allows for clocks that run behind.
const backdated = time.Minute

func newAuthority(now time.Time, life time.Duration) (cert, key []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "proviso-webhook-ca " + serial.Text(36)}, NotBefore: now.Add(-min(backdated, life/10)), NotAfter: now.Add(life),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, MaxPathLenZero: true}
	der, err := x509.CreateCertificate(rand.Reader, t, t, k.Public(), k)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), nil
}

func newLeaf(authority *x509.Certificate, key crypto.PrivateKey, hosts []string, now time.Time, life time.Duration) (*tls.Certificate, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	until := now.Add(life)
	if until.After(authority.NotAfter) {
		until = authority.NotAfter
	}
	t := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: hosts[0]}, NotBefore: now.Add(-min(backdated, life/10)), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, authority, k.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the leaf: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k, Leaf: leaf}, nil
}

// pair reads a certificate and the key that belongs to it.
func pair(cert, key []byte) (*x509.Certificate, crypto.PrivateKey, error) {
	if len(cert) > maxPEM || len(key) > maxPEM {
		return nil, nil, fmt.Errorf("certificate and key have %d and %d bytes, %d are the most", len(cert), len(key), maxPEM)
	}
	p, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, nil, err
	}
	if !p.Leaf.IsCA {
		return nil, nil, errors.New("the certificate is no authority's")
	}
	return p.Leaf, p.PrivateKey, nil
}
