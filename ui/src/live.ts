// live.ts - the websocket of events, opened again with back-off for as long as the page lives.
import type { Summary } from './api';

export type Event =
    | { Type: 'new'; Data: Summary }
    | { Type: 'update'; Data: { ID: string; Read?: boolean } }
    | { Type: 'delete'; Data: { ID: string } }
    | { Type: 'prune' | 'truncate'; Data: null }
    | { Type: 'stats'; Data: { Total: number; Unread: number; Version: string } };

export interface Handlers {
    /** Connected; `again` when it had been lost, so that events may have been missed. */
    open(again: boolean): void;
    lost(): void;
    event(event: Event): void;
}

const FIRST_DELAY_MS = 500;
const LAST_DELAY_MS = 15_000;

export function listen(handlers: Handlers): void {
    let delay = FIRST_DELAY_MS;
    let opened = false;
    let timer: number | undefined;
    let socket: WebSocket | undefined;

    const connect = () => {
        timer = undefined;
        const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
        socket = new WebSocket(`${scheme}://${location.host}/api/events`);
        socket.onopen = () => {
            delay = FIRST_DELAY_MS;
            handlers.open(opened);
            opened = true;
        };
        socket.onmessage = (frame) => {
            if (typeof frame.data === 'string') handlers.event(JSON.parse(frame.data) as Event);
        };
        socket.onclose = () => {
            socket = undefined;
            handlers.lost();
            // A little chance, so that many pages do not come back at the same instant.
            timer = window.setTimeout(connect, delay * (0.75 + Math.random() / 2));
            delay = Math.min(delay * 2, LAST_DELAY_MS);
        };
    };

    const now = () => {
        if (socket || timer === undefined) return;
        window.clearTimeout(timer);
        connect();
    };
    window.addEventListener('online', now);
    document.addEventListener('visibilitychange', () => !document.hidden && now());
    connect();
}
