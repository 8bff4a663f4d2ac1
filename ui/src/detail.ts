// detail.ts - envelope, session and structure made ready to show.  Pure.
import type { Envelope, Part } from './api';
import * as format from './format';

export interface Phase {
    name: string;
    atUs: number;
}

export interface Line {
    side: 'client' | 'server' | 'note';
    time: string;
    text: string;
    /** A reply that refuses. */
    refusal: boolean;
}

/** "2026-01-02T03:04:05.678901Z": Date knows milliseconds only. */
function microseconds(time: string): number {
    const fraction = /\.(\d+)/.exec(time)?.[1] ?? '';
    const seconds = Date.parse(time.replace(/\.\d+/, ''));
    return seconds * 1000 + Number(fraction.padEnd(6, '0').slice(0, 6));
}

const PHASES: [keyof Envelope, string][] = [
    ['Connected', 'Connected'],
    ['Handshake', 'TLS handshake done'],
    ['Mail', 'MAIL accepted'],
    ['Rcpt', 'First RCPT accepted'],
    ['Data', 'Message begins'],
    ['Received', 'Message complete'],
];

export function phases(e: Envelope): Phase[] {
    return PHASES.flatMap(([key, name]) => (e[key] ? [{ name, atUs: microseconds(String(e[key])) }] : []))
        .filter((p) => p.atUs > 0)
        .sort((a, b) => a.atUs - b.atUs);
}

type Counted = 'BareLF' | 'BareCR' | 'NUL' | 'LongLines' | 'EightBit';

const FAULTS: { key: Counted; one: string; many: string; rule: string }[] = [
    { key: 'BareLF', one: 'line ends in a lone LF', many: 'lines end in a lone LF', rule: 'only CR LF ends a line, RFC 5321 2.3.8' },
    { key: 'BareCR', one: 'lone CR', many: 'lone CRs', rule: 'CR may only come before LF, RFC 5321 2.3.8' },
    { key: 'NUL', one: 'NUL byte', many: 'NUL bytes', rule: 'not allowed in a message, RFC 5322 2.2' },
    { key: 'LongLines', one: 'line is longer than 998 bytes', many: 'lines are longer than 998 bytes', rule: 'RFC 5322 2.1.1' },
    { key: 'EightBit', one: 'byte above 127', many: 'bytes above 127', rule: 'not announced by BODY=8BITMIME or SMTPUTF8, RFC 6152' },
];

const announced = (e: Envelope): boolean => /\b(BODY=(8BITMIME|BINARYMIME)|SMTPUTF8)\b/i.test(e.SenderParams);

/** What the client did that SMTP does not allow, one sentence each. */
export function faults(e: Envelope): string[] {
    return FAULTS.filter(({ key }) => e[key] > 0 && !(key === 'EightBit' && announced(e))).map(
        ({ key, one, many, rule }) => `${e[key] === 1 ? `One ${one}` : `${format.count(e[key])} ${many}`} (${rule}).`,
    );
}

const SIDES = { C: 'client', S: 'server', '*': 'note' } as const;

/** "12 C: EHLO a": milliseconds since the connection began, who, what; credentials are masked, the message elided. */
export function transcript(whole: string): Line[] {
    const lines = whole.split('\n');
    if (lines.at(-1) === '') lines.pop();
    return lines.map((line) => {
        const found = /^(\d+) ([CS*]): (.*)$/.exec(line);
        if (!found) return { side: 'note', time: '', text: line, refusal: false };
        const side = SIDES[found[2] as keyof typeof SIDES];
        const said = found[3]!;
        return { side, time: format.duration(Number(found[1]) * 1000), text: said, refusal: side === 'server' && /^[45]\d\d/.test(said) };
    });
}

/** What is said of a part beside its type. */
export const partFacts = (p: Part): string[] =>
    [p.Charset, p.Encoding, p.Disposition, p.ContentID && `<${p.ContentID}>`, format.size(p.Size), `at byte ${format.count(p.HeaderOffset)}`].filter(Boolean);

/** "bare-lf" -> "bare lf": the names are the API's, the sentences stand above the tree. */
export const partFaults = (p: Part): string[] => [
    ...p.Faults.map((name) => name.replaceAll('-', ' ')),
    ...(p.EncodingFaults > 0 ? [`${format.plural(p.EncodingFaults, 'place')} where the encoding is broken`] : []),
];
