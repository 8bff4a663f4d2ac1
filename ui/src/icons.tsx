// icons.tsx - our own small drawings, 24 by 24, stroked in the colour of the text.
const PATHS = {
    back: 'M15 5l-7 7 7 7',
    up: 'M6 15l6-6 6 6',
    down: 'M6 9l6 6 6-6',
    trash: 'M4 7h16M9 7V4.5h6V7M6.5 7l.8 12.5h9.4L17.5 7M10 11v5M14 11v5',
    unread: 'M3.5 6h17v12.5h-17zM4 6.5l8 6.5 8-6.5',
    read: 'M3.5 10L12 4l8.5 6v9.5h-17zM3.5 10.5L12 16l8.5-5.5',
    clip: 'M19 11.5l-7.2 7.2a4.6 4.6 0 0 1-6.5-6.5l8-8a3.1 3.1 0 0 1 4.4 4.4l-8 8a1.6 1.6 0 0 1-2.2-2.2l7.2-7.2',
    download: 'M12 4v11M7 10.5l5 5 5-5M4.5 19.5h15',
    open: 'M13 4.5h6.5V11M19 5l-8.5 8.5M17 14v5.5H4.5V7H10',
    copy: 'M8.5 8.5h11v11h-11zM15.5 8V4.5h-11v11H8',
    check: 'M5 12.5l4.5 4.5L19 7.5',
    close: 'M6 6l12 12M18 6L6 18',
    sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4',
    moon: 'M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z',
    auto: 'M12 3.5a8.5 8.5 0 1 0 0 17zM12 3.5a8.5 8.5 0 0 1 0 17',
    help: 'M9 9.2a3 3 0 1 1 4.4 2.6c-1 .6-1.4 1.1-1.4 2.2M12 17.4v.1',
    phone: 'M8 3.5h8v17H8zM11 17.5h2',
    tablet: 'M5.5 4h13v16h-13zM11 17h2',
    wide: 'M3 5h18v11H3zM9 19.5h6M12 16v3.5',
    warning: 'M12 4L2.8 19.5h18.4zM12 10v4.5M12 17v.1',
    image: 'M4 5h16v14H4zM4 16l5-5 4 4 2.5-2.5L20 17M15 9v.1',
    file: 'M6 3.5h8l4 4v13H6zM13.5 4v4H18',
} as const;

export type IconName = keyof typeof PATHS;

export const Icon = ({ name }: { name: IconName }) => (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
        <path d={PATHS[name]} />
    </svg>
);

export const Logo = () => (
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
        <rect x="2" y="5" width="28" height="22" rx="5" class="logo-paper" />
        <path d="M7 11.5 16 18l9-6.5" class="logo-flap" />
        <path d="M20 27h5a5 5 0 0 0 5-5v-5z" class="logo-fold" />
    </svg>
);
