// router.ts - the address is the state: / is the list, /view/ID a message, #name its tab.
import { Store } from './store';

export interface Place {
    id: string | null;
    tab: string;
}

function read(): Place {
    const found = /^\/view\/([^/]+)\/?$/.exec(location.pathname);
    return { id: found ? decodeURIComponent(found[1]!) : null, tab: location.hash.slice(1) };
}

export const place = new Store<Place>(read());

export const address = (id: string | null, tab = ''): string =>
    (id === null ? '/' : `/view/${encodeURIComponent(id)}`) + (tab && `#${tab}`);

/** `replace` leaves no step in the history: for moves from message to message and from tab to tab. */
export function go(id: string | null, tab = '', replace = false): void {
    const to = address(id, tab);
    if (to !== location.pathname + location.hash) {
        if (replace) history.replaceState(history.state, '', to);
        else history.pushState({ inside: true }, '', to);
    }
    place.set({ id, tab });
}

/** Back to the list: the step that led here is undone, if there was one. */
export function leave(): void {
    if (place.value.id === null) return;
    if ((history.state as { inside?: boolean } | null)?.inside) history.back();
    else go(null, '', true);
}

export function followHistory(): void {
    const follow = () => place.set(read());
    window.addEventListener('popstate', follow);
    window.addEventListener('hashchange', follow);
}

/** A click that the page itself should follow, not the browser (new tab, download ...). */
export const plainClick = (e: MouseEvent): boolean =>
    e.button === 0 && !e.metaKey && !e.ctrlKey && !e.shiftKey && !e.altKey;
