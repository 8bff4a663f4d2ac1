// tabs.tsx - a message seen from its seven sides.  Text of the mail is only ever a text node; its HTML is only ever
// in a frame that may run nothing and is of no origin.
import { useMemo, useState } from 'preact/hooks';
import * as api from './api';
import * as detail from './detail';
import * as format from './format';
import { Icon, type IconName } from './icons';
import { Button, Copy, Failure, useLoaded, Waiting } from './parts';

const TEXT_MAX = 300_000; /* characters that a browser still lays out at once */
const RAW_MAX = 512 * 1024;

const WIDTHS: { width: string; icon: IconName; label: string }[] = [
    { width: 'phone', icon: 'phone', label: 'Phone width' },
    { width: 'tablet', icon: 'tablet', label: 'Tablet width' },
    { width: 'full', icon: 'wide', label: 'Full width' },
];

// No two neighbours of it can take the same characters, so that it stays linear on hostile input.
const REMOTE = /(?:\b(?:src|srcset|background|poster)\s*=\s*|url\(\s*)(?:["']\s*)?(?:https?:)?\/\//i;

// Kept from message to message: whoever tests on a phone's width looks at the next mail that way too.
const kept = { width: 'full', dark: false };

export function Html({ message }: { message: api.Message }) {
    const [width, setWidth] = useState(kept.width);
    const [dark, setDark] = useState(kept.dark);
    const [remote, setRemote] = useState(false);
    const hasRemote = useMemo(() => REMOTE.test(message.HTML), [message]);
    kept.width = width;
    kept.dark = dark;
    return (
        <div class="html-tab">
            <div class="panel-bar">
                <div class="segments" role="group" aria-label="Width">
                    {WIDTHS.map((w) => (
                        <button
                            type="button"
                            key={w.width}
                            aria-label={w.label}
                            title={w.label}
                            aria-pressed={w.width === width}
                            onClick={() => setWidth(w.width)}
                        >
                            <Icon name={w.icon} />
                        </button>
                    ))}
                </div>
                <Button
                    icon="moon"
                    label="Show it as a dark mail program would"
                    pressed={dark}
                    onClick={() => setDark(!dark)}
                />
                {hasRemote && (
                    <button type="button" class="plain remote" aria-pressed={remote} onClick={() => setRemote(!remote)}>
                        <Icon name="image" /> {remote ? 'Block remote images' : 'Show remote images'}
                    </button>
                )}
                <a class="button push" href={api.path.html(message.ID)} target="_blank" rel="noreferrer noopener" aria-label="Open in a tab of its own" title="Open in a tab of its own">
                    <Icon name="open" />
                </a>
            </div>
            <div class={`frame-room ${width}`}>
                <iframe
                    key={`${message.ID}${remote}`}
                    class={dark ? 'dark-mail' : 'light-mail'}
                    title={`HTML of: ${message.Subject || 'no subject'}`}
                    src={api.path.html(message.ID, remote ? '?embed=1&remote=1' : '?embed=1')}
                    sandbox="allow-popups allow-popups-to-escape-sandbox"
                    referrerpolicy="no-referrer"
                />
            </div>
        </div>
    );
}

const Linked = ({ text }: { text: string }) => (
    <>
        {format.links(text).map((piece, i) =>
            piece.href ? (
                <a key={i} href={piece.href} target="_blank" rel="noreferrer noopener">
                    {piece.text}
                </a>
            ) : (
                piece.text
            ),
        )}
    </>
);

const Cut = ({ id, shown }: { id: string; shown: string }) => (
    <p class="hint">
        Only the first {shown} are shown. <a href={`${api.path.raw(id)}?dl=1`}>Download the whole message</a>
    </p>
);

export function Text({ message }: { message: api.Message }) {
    if (!message.Text && message.HTML) return <TextOfHtml id={message.ID} />;
    if (!message.Text) return <p class="nothing">This message has no text.</p>;
    const cut = message.Text.length > TEXT_MAX;
    return (
        <div class="padded">
            {cut && <Cut id={message.ID} shown={`${format.count(TEXT_MAX)} characters`} />}
            <pre class="mail-text">
                <Linked text={cut ? message.Text.slice(0, TEXT_MAX) : message.Text} />
            </pre>
        </div>
    );
}

function TextOfHtml({ id }: { id: string }) {
    const { value, failure, again } = useLoaded(id, (signal) => api.textStart(api.path.text(id), TEXT_MAX, signal));
    if (failure) return <Failure error={failure} again={again} />;
    if (!value) return <Waiting what="the text" />;
    return (
        <div class="padded">
            <p class="hint">The message has no text part. This was made from its HTML.</p>
            {value.cut && <Cut id={id} shown={`${format.count(TEXT_MAX)} characters`} />}
            <pre class="mail-text">
                <Linked text={value.text} />
            </pre>
        </div>
    );
}

export function Headers({ message }: { message: api.Message }) {
    const { value, failure, again } = useLoaded(message.ID, (signal) => api.headers(message.ID, signal));
    if (failure) return <Failure error={failure} again={again} />;
    if (!value) return <Waiting what="the headers" />;
    const rows = Object.entries(value).flatMap(([name, values]) => values.map((text) => ({ name, text })));
    return (
        <div class="padded">
            <table class="headers">
                <caption class="visually-hidden">Header fields</caption>
                <thead class="visually-hidden">
                    <tr>
                        <th scope="col">Name</th>
                        <th scope="col">Value</th>
                    </tr>
                </thead>
                <tbody>
                    {rows.map((h, i) => (
                        <tr key={i}>
                            <th scope="row">{h.name}</th>
                            <td dir="auto">{h.text}</td>
                        </tr>
                    ))}
                </tbody>
            </table>
        </div>
    );
}

export function Raw({ message }: { message: api.Message }) {
    const url = api.path.raw(message.ID);
    const { value, failure, again } = useLoaded(message.ID, (signal) => api.textStart(url, RAW_MAX, signal));
    if (failure) return <Failure error={failure} again={again} />;
    if (!value) return <Waiting what="the message" />;
    return (
        <div class="padded">
            <div class="panel-line">
                {value.cut ? <p class="hint">Only the first {format.size(RAW_MAX)} are shown.</p> : <span />}
                <Copy text={value.text} label={value.cut ? 'Copy what is shown' : 'Copy the message'} />
                <a class="button with-text" href={`${url}?dl=1`} download={`${message.ID}.eml`}>
                    <Icon name="download" /> <span>Download .eml</span>
                </a>
            </div>
            <pre class="raw">{value.text}</pre>
        </div>
    );
}

const PICTURES = /^image\/(png|jpe?g|gif|webp|avif|bmp|x-ms-bmp|svg\+xml)$/i;

export function Attachments({ message }: { message: api.Message }) {
    const all = [
        ...(message.Attachments ?? []).map((a) => ({ ...a, inline: false })),
        ...(message.Inline ?? []).map((a) => ({ ...a, inline: true })),
    ];
    if (!all.length) return <p class="nothing">This message has no attachments.</p>;
    return (
        <ul class="attachments padded">
            {all.map((a) => (
                <AttachmentCard key={a.PartID} id={message.ID} attachment={a} inline={a.inline} />
            ))}
        </ul>
    );
}

function AttachmentCard({ id, attachment: a, inline }: { id: string; attachment: api.Attachment; inline: boolean }) {
    const [broken, setBroken] = useState(false);
    const url = api.path.part(id, a.PartID);
    const name = a.FileName || a.ContentID || `part ${a.PartID}`;
    const picture = PICTURES.test(a.ContentType) && !broken;
    const extension = /\.([a-z0-9]{1,5})$/i.exec(name)?.[1] ?? '';
    return (
        <li class="attachment">
            <a class="thumbnail" href={url} target="_blank" rel="noreferrer noopener" tabIndex={-1} aria-hidden="true">
                {picture ? (
                    <img src={url} alt="" loading="lazy" onError={() => setBroken(true)} />
                ) : (
                    <>
                        <Icon name="file" />
                        <span>{extension}</span>
                    </>
                )}
            </a>
            <div class="attachment-facts">
                <a href={url} target="_blank" rel="noreferrer noopener" class="attachment-name" dir="auto" title={name}>
                    {name}
                </a>
                <p>
                    {a.ContentType} · {format.size(a.Size)}
                    {inline && ' · inline'}
                </p>
                {a.Checksums?.SHA256 && (
                    <p class="checksum" title={`SHA-256 ${a.Checksums.SHA256}`}>
                        SHA-256 <code>{a.Checksums.SHA256}</code>
                    </p>
                )}
            </div>
            <a class="button" href={`${url}?dl=1`} download={name} aria-label={`Download ${name}`} title="Download">
                <Icon name="download" />
            </a>
        </li>
    );
}

export function Session({ message }: { message: api.Message }) {
    const { value, failure, again } = useLoaded(message.ID, async (signal) => {
        const [envelope, session] = await Promise.all([
            api.envelope(message.ID, signal),
            api.session(message.ID, signal),
        ]);
        return { envelope, session };
    });
    if (failure) return <Failure error={failure} again={again} />;
    if (!value) return <Waiting what="the session" />;
    const { envelope, session } = value;
    return (
        <div class="session padded">
            <Faults faults={detail.faults(envelope)} />
            <div class="session-columns">
                <Facts envelope={envelope} reason={session.Reason} />
                <Phases phases={detail.phases(envelope)} />
            </div>
            <Transcript whole={session.Transcript} />
        </div>
    );
}

const Faults = ({ faults }: { faults: string[] }) =>
    faults.length ? (
        <section class="faults" aria-label="Faults">
            <Icon name="warning" />
            <div>
                <h3>The client did not keep to the rules</h3>
                <ul>
                    {faults.map((f) => (
                        <li key={f}>{f}</li>
                    ))}
                </ul>
                <p>The bytes were kept as they came; a mail server on the Internet may refuse them.</p>
            </div>
        </section>
    ) : null;

const joined = (...parts: (string | false)[]): string => parts.filter(Boolean).join(' · ');

const endpoint = (address: string, port: number): string =>
    address && port ? `${address.includes(':') ? `[${address}]` : address}:${port}` : address;

const Fact = ({ name, value }: { name: string; value: string }) =>
    value ? (
        <div>
            <dt>{name}</dt>
            <dd dir="auto">{value}</dd>
        </div>
    ) : null;

function Facts({ envelope: e, reason }: { envelope: api.Envelope; reason: string }) {
    const rows: [string, string][] = [
        ['Client', joined(endpoint(e.ClientAddress, e.ClientPort), e.ProxyAddress !== '' && `told by ${e.ProxyAddress}`)],
        ['Called itself', e.Helo],
        ['Listener', joined(e.Listener, endpoint(e.ServerAddress, e.ServerPort))],
        ['Protocol', joined(e.Protocol, e.Chunking && 'BDAT')],
        ['TLS', joined(e.TLSVersion, e.TLSCipher, e.TLSServerName) || 'none'],
        ['Authenticated', joined(e.AuthUser, e.AuthMechanism) || 'no'],
        ['Sender', joined(`<${e.Sender}>`, e.SenderParams)],
    ];
    const rcpts = e.Recipients;
    return (
        <section>
            <h3>Envelope</h3>
            <dl class="facts">
                {rows.map(([name, value]) => (
                    <Fact key={name} name={name} value={value} />
                ))}
                {rcpts.length > 0 && (
                    <div>
                        <dt>{rcpts.length === 1 ? 'Recipient' : `${format.count(rcpts.length)} recipients`}</dt>
                        <dd>
                            <ul class="recipients">
                                {rcpts.map((r, i) => (
                                    <li key={i} dir="auto">
                                        {joined(`<${r.Address}>`, r.Params)}
                                    </li>
                                ))}
                            </ul>
                        </dd>
                    </div>
                )}
                <Fact name="Message" value={e.ID} />
                <Fact name="Session" value={joined(e.Session, reason)} />
            </dl>
        </section>
    );
}

function Phases({ phases }: { phases: detail.Phase[] }) {
    const first = phases[0];
    if (!first) return null;
    const whole = Math.max(1, phases[phases.length - 1]!.atUs - first.atUs);
    return (
        <section>
            <h3>Times</h3>
            <ol class="phases">
                {phases.map((p, i) => {
                    const offset = p.atUs - first.atUs;
                    const step = i ? p.atUs - phases[i - 1]!.atUs : 0;
                    return (
                        <li key={p.name}>
                            <span>{p.name}</span>
                            <span class="phase-time">
                                {i ? `+${format.duration(offset)}` : format.mediumDate(new Date(p.atUs / 1000))}
                            </span>
                            {i > 0 && (
                                <span class="phase-track" aria-hidden="true">
                                    <span style={{ marginLeft: `${((offset - step) / whole) * 100}%`, width: `${(step / whole) * 100}%` }} />
                                </span>
                            )}
                        </li>
                    );
                })}
            </ol>
        </section>
    );
}

const SIGNS = { client: 'C', server: 'S', note: '·' };

const Transcript = ({ whole }: { whole: string }) => (
    <section>
        <div class="panel-line">
            <h3>Transcript</h3>
            <Copy text={whole} label="Copy the transcript" />
        </div>
        <ol class="transcript">
            {detail.transcript(whole).map((line, i) => (
                <li key={i} class={`${line.side}${line.refusal ? ' refusal' : ''}`}>
                    <span class="time">{line.time}</span>
                    <span class="side">{SIGNS[line.side]}</span>
                    <span>{line.text}</span>
                </li>
            ))}
        </ol>
    </section>
);

export function Structure({ message }: { message: api.Message }) {
    const { value, failure, again } = useLoaded(message.ID, (signal) => api.structure(message.ID, signal));
    if (failure) return <Failure error={failure} again={again} />;
    if (!value) return <Waiting what="the structure" />;
    return (
        <div class="padded">
            <Remarks faults={value.Faults} />
            <ul class="tree" aria-label="Parts of the message">
                {value.Parts.map((p) => (
                    <PartItem key={p.HeaderOffset} part={p} />
                ))}
            </ul>
        </div>
    );
}

const Remarks = ({ faults }: { faults: api.Fault[] }) =>
    faults.length ? (
        <section class="faults" aria-label="Faults">
            <Icon name="warning" />
            <div>
                <h3>The message does not keep to the rules</h3>
                <ul>
                    {faults.map((f) => (
                        <li key={f.Name}>
                            {f.Text.replace(/^./, (c) => c.toUpperCase())}: <code>{f.Name}</code>
                            {f.Count > 1 && `, ${format.count(f.Count)} times`}
                            {f.Offset > 0 && `, at byte ${format.count(f.Offset)}`}
                        </li>
                    ))}
                </ul>
            </div>
        </section>
    ) : null;

const PartItem = ({ part }: { part: api.Part }) => (
    <li>
        <div class="part">
            <code>{part.ContentType}</code>
            {part.FileName && (
                <span class="part-name" dir="auto">
                    {part.FileName}
                </span>
            )}
            <span class="part-facts">{detail.partFacts(part).join(' · ')}</span>
            {detail.partFaults(part).map((f) => (
                <span class="part-fault" key={f}>
                    <Icon name="warning" /> {f}
                </span>
            ))}
        </div>
        {part.Parts.length > 0 && (
            <ul>
                {part.Parts.map((p) => (
                    <PartItem key={p.HeaderOffset} part={p} />
                ))}
            </ul>
        )}
    </li>
);
