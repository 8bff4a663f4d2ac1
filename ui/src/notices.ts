// notices.ts - what the page says: short notes that go away, and sentences for screen readers.
import { Store } from './store';

export interface Note {
    key: number;
    text: string;
    bad: boolean;
}

export const notices = new Store<{ notes: Note[]; spoken: string }>({ notes: [], spoken: '' });

const SHOWN_MS = 5000;
let last = 0;

export function note(text: string, bad = false): void {
    const key = ++last;
    notices.set({ notes: [...notices.value.notes.slice(-2), { key, text, bad }] });
    window.setTimeout(() => drop(key), bad ? SHOWN_MS * 2 : SHOWN_MS);
}

export function drop(key: number): void {
    notices.set({ notes: notices.value.notes.filter((n) => n.key !== key) });
}

export function say(sentence: string): void {
    notices.set({ spoken: sentence });
}

/** Runs an action and shows why it failed, if it did. */
export async function attempt(action: () => Promise<unknown>): Promise<boolean> {
    try {
        await action();
        return true;
    } catch (e) {
        note(e instanceof Error ? e.message : String(e), true);
        return false;
    }
}
