// main.tsx - loaded in the head: the theme is set before the first paint, the page is drawn when there is a body.
import './theme';
import './style.css';
import { render } from 'preact';
import { App } from './app';
import { start } from './mailbox';
import { followHistory } from './router';

document.addEventListener('DOMContentLoaded', () => {
    followHistory();
    start();
    render(<App />, document.body);
});
