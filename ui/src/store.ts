// store.ts - a value that components can watch.
import { useEffect, useReducer } from 'preact/hooks';

export class Store<T extends object> {
    private watchers = new Set<() => void>();

    constructor(public value: T) {}

    set(part: Partial<T>): void {
        this.value = { ...this.value, ...part };
        for (const watch of [...this.watchers]) watch();
    }

    watch(watch: () => void): () => void {
        this.watchers.add(watch);
        return () => this.watchers.delete(watch);
    }
}

/** The value, and a new rendering whenever it changes. */
export function useStore<T extends object>(store: Store<T>): T {
    const [, render] = useReducer((n: number) => n + 1, 0);
    useEffect(() => store.watch(() => render(undefined)), [store]);
    return store.value;
}
