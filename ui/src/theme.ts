// theme.ts - light, dark, or as the system has it.
import { Store } from './store';

export type Theme = 'auto' | 'light' | 'dark';
const ORDER: Theme[] = ['auto', 'light', 'dark'];
const KEY = 'penfold.theme';

// Storage may be forbidden; then the choice lasts as long as the page.
function load(): Theme {
    try {
        const kept = localStorage.getItem(KEY) as Theme;
        return ORDER.includes(kept) ? kept : 'auto';
    } catch {
        return 'auto';
    }
}

const systemDark = window.matchMedia('(prefers-color-scheme: dark)');

/** The style sheet knows only the outcome. */
function apply(): void {
    const { mode } = theme.value;
    document.documentElement.dataset.theme = mode === 'auto' ? (systemDark.matches ? 'dark' : 'light') : mode;
}

export const theme = new Store<{ mode: Theme }>({ mode: load() });

export function nextTheme(): void {
    const mode = ORDER[(ORDER.indexOf(theme.value.mode) + 1) % ORDER.length]!;
    theme.set({ mode });
    apply();
    try {
        localStorage.setItem(KEY, mode);
    } catch {
        /* see load() */
    }
}

apply();
systemDark.addEventListener('change', apply);
