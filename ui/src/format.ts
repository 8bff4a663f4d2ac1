// format.ts - values as people read them.  Pure.
import type { Address } from './api';

const UNITS = ['B', 'KB', 'MB', 'GB', 'TB'];

export function size(bytes: number): string {
    let n = bytes;
    let unit = 0;
    for (; n >= 1000 && unit < UNITS.length - 1; unit++) n /= 1024;
    return `${unit === 0 || n >= 10 ? Math.round(n) : n.toFixed(1)} ${UNITS[unit]}`;
}

export const count = (n: number): string => n.toLocaleString();

export const plural = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`;

/** A date of the server, or null for what no calendar has. */
export function date(text: string | null | undefined): Date | null {
    const d = new Date(text ?? '');
    return Number.isNaN(d.getTime()) || d.getUTCFullYear() < 2 ? null : d;
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const DAY = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const YEAR = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'long' });
const MEDIUM = new Intl.DateTimeFormat(undefined, {
    weekday: 'short', day: 'numeric', month: 'short', year: 'numeric',
    hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23', timeZoneName: 'short',
});

/** As short as it stays clear: the clock for today, the day for this year. */
export function when(d: Date, now = new Date()): string {
    if (d.toDateString() === now.toDateString()) return CLOCK.format(d);
    return (d.getFullYear() === now.getFullYear() ? DAY : YEAR).format(d);
}

export const fullDate = (d: Date): string => FULL.format(d);
export const mediumDate = (d: Date): string => MEDIUM.format(d);

export const name = (a: Address | null | undefined): string => a?.Name.trim() || a?.Address || '(no sender)';

/** "Ada, Bob +3": who it is for, in one line. */
export function names(list: Address[]): string {
    const shown = list.slice(0, 2).map(name).join(', ');
    return list.length > 2 ? `${shown} +${list.length - 2}` : shown;
}

/** Microseconds as people measure them; what came in whole milliseconds gets no digits behind them. */
export function duration(us: number): string {
    if (us === 0) return '0 ms';
    if (us < 1000) return `${Math.round(us)} µs`;
    if (us < 1_000_000) return `${Number((us / 1000).toFixed(us < 10_000 ? 1 : 0))} ms`;
    return `${(us / 1_000_000).toFixed(us < 10_000_000 ? 2 : 1)} s`;
}

export interface Piece {
    text: string;
    href?: string;
}

/** An address ends before the punctuation of its sentence; a bracket belongs to it if it was opened in it. */
function withoutTail(url: string): string {
    let end = url.length;
    let open = 0;
    for (const c of url) open += c === '(' ? 1 : c === ')' ? -1 : 0;
    for (; end > 0 && '.,;:!?)]}'.includes(url[end - 1]!); end--) {
        if (url[end - 1] !== ')') continue;
        if (open >= 0) break;
        open++;
    }
    return url.slice(0, end);
}

/** Text cut at the addresses of web pages in it. */
export function links(text: string): Piece[] {
    const pieces: Piece[] = [];
    let end = 0;
    for (const found of text.matchAll(/\bhttps?:\/\/[^\s<>"'`]{1,2000}/gi)) {
        const href = withoutTail(found[0]);
        if (!/^https?:\/\/./i.test(href)) continue;
        if (found.index > end) pieces.push({ text: text.slice(end, found.index) });
        pieces.push({ text: href, href });
        end = found.index + href.length;
    }
    if (end < text.length) pieces.push({ text: text.slice(end) });
    return pieces;
}
