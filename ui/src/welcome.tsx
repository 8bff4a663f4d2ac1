// welcome.tsx - where to send mail and how: the first thing a newcomer sees.
import { useState } from 'preact/hooks';
import * as api from './api';
import { Copy, useLoaded } from './parts';

const STANDARD: api.Listener[] = [{ Name: 'smtp', Address: '127.0.0.1:1025', TLS: 'starttls' }];
const TLS_NAMES = { none: 'plain', starttls: 'STARTTLS offered', implicit: 'TLS from the start' };

/** "127.0.0.1:1025", "[::]:1025" -> the host that this browser used when the listener takes any. */
function split(address: string): { host: string; port: string } {
    const at = address.lastIndexOf(':');
    const host = address.slice(0, at).replace(/^\[|\]$/g, '');
    const any = host === '' || host === '0.0.0.0' || host === '::' || host === '*';
    return { host: any ? location.hostname.replace(/^\[|\]$/g, '') : host, port: address.slice(at + 1) };
}

const bracket = (host: string): string => (host.includes(':') ? `[${host}]` : host);

type Example = (host: string, port: string) => string;

const EXAMPLES: Record<string, Example> = {
    curl: (host, port) =>
        `printf '%s\\r\\n' 'From: app@example.com' 'Subject: Hello' '' 'It works.' |\n  curl -sS smtp://${bracket(host)}:${port} --upload-file - \\\n    --mail-from app@example.com --mail-rcpt you@example.com`,
    Penfold: (host, port) =>
        `penfold send --server ${bracket(host)}:${port} \\\n  --from app@example.com --to you@example.com \\\n  --subject 'Hello' --body 'It works.'`,
    Python: (host, port) =>
        `import smtplib\n\nwith smtplib.SMTP("${host}", ${port}) as s:\n    s.sendmail("app@example.com", "you@example.com",\n               "From: app@example.com\\nSubject: Hello\\n\\nIt works.")`,
    Node: (host, port) =>
        `import nodemailer from "nodemailer";\n\nconst mail = nodemailer.createTransport({ host: "${host}", port: ${port} });\nawait mail.sendMail({ from: "app@example.com", to: "you@example.com",\n                      subject: "Hello", text: "It works." });`,
    '.env': (host, port) => `MAIL_MAILER=smtp\nMAIL_HOST=${host}\nMAIL_PORT=${port}\nMAIL_ENCRYPTION=null`,
};

export function Welcome({ empty }: { empty: boolean }) {
    const [kind, setKind] = useState('curl') /* which is on every machine */;
    const { value } = useLoaded('listeners', () => api.listeners());
    const listeners = value?.length ? value : STANDARD;
    const first = listeners.find((l) => l.TLS !== 'implicit' && l.Address.includes(':')) ?? listeners[0]!;
    const { host, port } = split(first.Address);
    const example = EXAMPLES[kind]!(host, port);
    return (
        <section class="welcome" aria-labelledby="welcome-title">
            <h2 id="welcome-title">{empty ? 'Ready for the first message' : 'Select a message'}</h2>
            <p>
                {empty
                    ? 'Point your application at one of these addresses. Whatever it sends is caught here and goes nowhere else.'
                    : 'Or send another one: whatever arrives here is caught and goes nowhere else.'}
            </p>
            <ul class="listeners">
                {listeners.map((l) => {
                    const at = split(l.Address);
                    const text = l.Address.includes(':') ? `${bracket(at.host)}:${at.port}` : l.Address;
                    return (
                        <li key={l.Name + l.Address}>
                            <span class="listener-name">{l.Name.toUpperCase()}</span>
                            <code>{text}</code>
                            <span class="listener-tls">{TLS_NAMES[l.TLS]}</span>
                            <Copy text={text} label={`Copy ${text}`} />
                        </li>
                    );
                })}
            </ul>
            <div class="example-bar">
                <div class="segments" role="group" aria-label="Example for">
                    {Object.keys(EXAMPLES).map((name) => (
                        <button type="button" key={name} aria-pressed={name === kind} onClick={() => setKind(name)}>
                            {name}
                        </button>
                    ))}
                </div>
                <Copy text={example} label="Copy the example" />
            </div>
            <pre class="example" tabIndex={0} aria-label={`Example: ${kind}`}>
                {example}
            </pre>
        </section>
    );
}
