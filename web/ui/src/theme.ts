// The look of the whole UI: one accent, system fonts, small sizes, and colours that keep WCAG AA contrast in both schemes.
import { createTheme, type CSSVariablesResolver, type MantineColorsTuple } from '@mantine/core';

const accent: MantineColorsTuple = [
  '#eef3ff', '#dde5f8', '#bccaee', '#9db1ea', '#7f98e0', '#6a86db', '#5b78d4', '#4463ba', '#3a58a7', '#2d4b94',
];
const dark: MantineColorsTuple = [
  '#d7dce3', '#bcc4cf', '#a0a9b6', '#808b9a', '#39414d', '#2c333e', '#222832', '#171b22', '#12151b', '#0d1014',
];

export const theme = createTheme({
  primaryColor: 'accent',
  primaryShade: { light: 7, dark: 7 },
  colors: { accent, dark },
  fontFamily: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Helvetica Neue', Arial, sans-serif",
  fontFamilyMonospace: "ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', 'DejaVu Sans Mono', monospace",
  fontSizes: { xs: '0.75rem', sm: '0.8125rem', md: '0.875rem', lg: '1rem', xl: '1.125rem' },
  defaultRadius: 'sm',
  cursorType: 'pointer',
  respectReducedMotion: true,
  headings: {
    fontWeight: '600',
    sizes: {
      h1: { fontSize: '1.25rem', lineHeight: '1.35' },
      h2: { fontSize: '1rem', lineHeight: '1.4' },
      h3: { fontSize: '0.875rem', lineHeight: '1.45' },
    },
  },
  components: {
    Button: { defaultProps: { size: 'xs' } },
    ActionIcon: { defaultProps: { variant: 'subtle', color: 'gray' } },
    TextInput: { defaultProps: { size: 'sm' } },
    Textarea: { defaultProps: { size: 'sm' } },
    NativeSelect: { defaultProps: { size: 'sm' } },
    Select: { defaultProps: { size: 'sm' } },
    Tooltip: { defaultProps: { openDelay: 300, withArrow: true } },
    // The placeholder is an element that a menu may not contain.
    Menu: { defaultProps: { withInitialFocusPlaceholder: false } },
    Modal: { defaultProps: { centered: true } },
    Notification: { defaultProps: { closeButtonProps: { 'aria-label': 'Dismiss' } } },
  },
});

export const cssVariables: CSSVariablesResolver = () => ({
  variables: { '--mantine-font-size-md': '0.875rem' },
  light: {
    '--mantine-color-dimmed': '#58606b',
    '--mantine-color-placeholder': '#68707b',
    '--mantine-color-error': '#b42318',
    '--kf-canvas': '#f6f7f9',
    '--kf-surface': '#ffffff',
    '--kf-line': '#dfe3e8',
    '--kf-hover': '#f1f3f6',
    '--kf-ok': '#147a42',
    '--kf-bad': '#b42318',
    '--kf-run': '#1f5fbf',
    '--kf-wait': '#8a5a00',
    '--kf-off': '#58606b',
    '--kf-cached': '#0b7285',
    '--kf-ok-soft': '#e6f5ec',
    '--kf-bad-soft': '#fdecea',
    '--kf-run-soft': '#e7f0fd',
    '--kf-wait-soft': '#fdf3dc',
    '--kf-off-soft': '#eef0f3',
    '--kf-cached-soft': '#e0f4f7',
    '--kf-mark': '#ffe58a',
  },
  dark: {
    '--mantine-color-dimmed': '#a0a9b6',
    '--mantine-color-placeholder': '#8e98a6',
    '--mantine-color-anchor': '#9db1ea',
    '--mantine-color-error': '#ff8f85',
    '--kf-canvas': '#12151b',
    '--kf-surface': '#171b22',
    '--kf-line': '#2c333e',
    '--kf-hover': '#1f252e',
    '--kf-ok': '#5fd38d',
    '--kf-bad': '#ff8f85',
    '--kf-run': '#82b1ff',
    '--kf-wait': '#f0bd5a',
    '--kf-off': '#a0a9b6',
    '--kf-cached': '#63c9d8',
    '--kf-ok-soft': '#14301f',
    '--kf-bad-soft': '#3a1a18',
    '--kf-run-soft': '#16284a',
    '--kf-wait-soft': '#352a12',
    '--kf-off-soft': '#232933',
    '--kf-cached-soft': '#10303a',
    '--kf-mark': '#6b5900',
  },
});
