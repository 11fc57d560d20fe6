// An authorization server for tests: oidc-provider on a free loopback port. It ends when its stdin does.
//
// The first line of stdin is JSON: clients (as oidc-provider registers them), scopes, ttl (seconds of a token),
// and tls {key, cert, ca} in PEM for https that asks for a client certificate. It prints {"port": n}.
import { X509Certificate } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const packages = createRequire(join(process.env.OAUTH_PACKAGES, 'here.js'));
const { Provider, errors } = await import(pathToFileURL(packages.resolve('oidc-provider')));

const lines = createInterface({ input: process.stdin });
const asked = JSON.parse((await lines[Symbol.asyncIterator]().next()).value);
process.stdin.on('end', () => process.exit(0)).resume();

const certificateOf = (ctx) => {
  const { raw } = ctx.req.socket.getPeerCertificate?.() ?? {};
  return raw && new X509Certificate(raw);
};
const FIVE_MINUTES = 300;

function configuration() {
  return {
    clients: asked.clients,
    scopes: asked.scopes,
    ttl: { ClientCredentials: asked.ttl },
    clientAuthMethods: [
      ...['client_secret_basic', 'client_secret_post', 'private_key_jwt'],
      ...(asked.tls ? ['tls_client_auth'] : []),
    ],
    enabledJWA: { clientAuthSigningAlgValues: ['ES384', 'RS384'] },
    // What SMART App Launch asks for beyond RFC 7523.
    assertJwtClientAuthClaimsAndHeader(ctx, claims, header) {
      const ahead = claims.exp - Math.floor(Date.now() / 1000);
      if (ahead > FIVE_MINUTES) throw new errors.InvalidClientAuth('exp is more than five minutes ahead');
      if (claims.sub !== claims.iss) throw new errors.InvalidClientAuth('sub is not iss');
      if (typeof claims.aud !== 'string') throw new errors.InvalidClientAuth('aud is a list');
      if (!claims.aud.endsWith('/token')) throw new errors.InvalidClientAuth('aud is not the token URL');
      if (header.typ !== 'JWT' || !header.kid) throw new errors.InvalidClientAuth('typ or kid');
    },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: () => true },
      mTLS: {
        enabled: Boolean(asked.tls),
        tlsClientAuth: true,
        getCertificate: certificateOf,
        certificateAuthorized: (ctx) => ctx.req.socket.authorized,
        certificateSubjectMatches: (ctx, property, expected) =>
          property === 'tls_client_auth_san_dns' && certificateOf(ctx)?.subjectAltName === `DNS:${expected}`,
      },
    },
  };
}

let handler = (request, response) => response.writeHead(503).end();
const answer = (request, response) => handler(request, response);
const server = asked.tls
  ? https.createServer({ ...asked.tls, requestCert: true, rejectUnauthorized: false }, answer)
  : http.createServer(answer);
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  // The issuer's address has the port, so the provider can be made only now.
  const issuer = `${asked.tls ? 'https' : 'http'}://127.0.0.1:${port}`;
  handler = new Provider(issuer, configuration()).callback();
  process.stdout.write(`${JSON.stringify({ port })}\n`);
});
