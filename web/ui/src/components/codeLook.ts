// How code looks, read or edited: the page's own colours, in both schemes.
import { HighlightStyle } from '@codemirror/language';
import { EditorView } from '@codemirror/view';
import { tags } from '@lezer/highlight';

export const highlight = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: 'var(--kf-run)' },
  { tag: tags.string, color: 'var(--kf-ok)' },
  { tag: [tags.number, tags.bool, tags.null, tags.keyword], color: 'var(--kf-wait)' },
  { tag: tags.comment, color: 'var(--mantine-color-dimmed)', fontStyle: 'italic' },
]);

export const look = EditorView.theme({
  '&': { height: '100%', fontSize: '12px', backgroundColor: 'var(--kf-surface)', color: 'var(--mantine-color-text)' },
  '.cm-scroller': { fontFamily: 'var(--mantine-font-family-monospace)', lineHeight: '19px' },
  '.cm-gutters': { backgroundColor: 'var(--kf-surface)', color: 'var(--mantine-color-dimmed)', border: 'none' },
  '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'var(--kf-hover)' },
  '.cm-panels': { backgroundColor: 'var(--kf-canvas)', color: 'var(--mantine-color-text)' },
  '.cm-searchMatch': { backgroundColor: 'var(--kf-mark)' },
  '&.cm-focused': { outline: '2px solid var(--mantine-color-anchor)', outlineOffset: '-2px' },
  '.cm-foldPlaceholder': { backgroundColor: 'var(--kf-off-soft)', color: 'var(--kf-off)', border: 'none' },
});
