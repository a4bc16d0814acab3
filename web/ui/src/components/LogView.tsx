// A log to read: follows, searches, shows timestamps, wraps, downloads, jumps to the first error. Only the lines in
// sight are in the page, so its size does not matter.
import { ActionIcon, Group, Loader, Text, TextInput, Tooltip } from '@mantine/core';
import { useDebouncedValue, useLocalStorage } from '@mantine/hooks';
import {
  IconAlertCircle,
  IconArrowBarToDown,
  IconChevronDown,
  IconChevronUp,
  IconClock,
  IconDownload,
  IconSearch,
  IconTextWrap,
} from '@tabler/icons-react';
import { useVirtualizer } from '@tanstack/react-virtual';
import { useEffect, useMemo, useRef, useState, type KeyboardEvent, type ReactNode } from 'react';
import { bytes, plural } from '../lib/format';
import { clean, looksLikeError, splitStamp } from '../lib/logs';
import classes from './LogView.module.css';
import { logPath, useLog } from './useLog';

interface Props {
  namespace: string;
  pod: string;
  active: boolean;
  /** Needed when the pod has several. */
  container?: string;
}

export function LogView({ namespace, pod, active, container }: Props) {
  const { buffer, version, phase, error } = useLog(namespace, pod, active, container);
  const [wrap, setWrap] = useLocalStorage({ key: 'kfbox-log-wrap', defaultValue: true });
  const [stamps, setStamps] = useLocalStorage({ key: 'kfbox-log-times', defaultValue: false });
  const [follow, setFollow] = useState(true);
  const [needle, setNeedle] = useState('');
  const [wanted] = useDebouncedValue(needle, 150);
  const [hit, setHit] = useState(0);
  const [focusLine, setFocusLine] = useState(-1);
  const viewport = useRef<HTMLDivElement>(null);
  const ownScroll = useRef(0);
  const lines = buffer.lines.length;

  // eslint-disable-next-line react-hooks/exhaustive-deps -- the buffer changes in place; its version says when
  const hits = useMemo(() => buffer.search(wanted), [buffer, wanted, version]);
  const current = hits[Math.min(hit, hits.length - 1)];

  const virtual = useVirtualizer({
    count: lines,
    getScrollElement: () => viewport.current,
    estimateSize: () => 19,
    overscan: 30,
  });

  useEffect(() => virtual.measure(), [wrap, stamps, virtual]);
  useEffect(() => {
    if (!follow || lines === 0) return;
    ownScroll.current = Date.now();
    virtual.scrollToIndex(lines - 1, { align: 'end' });
  }, [follow, lines, virtual]);

  const goTo = (line: number) => {
    setFollow(false);
    setFocusLine(line);
    ownScroll.current = Date.now();
    virtual.scrollToIndex(line, { align: 'center' });
  };
  const step = (by: number) => {
    if (hits.length === 0) return;
    const next = (Math.min(hit, hits.length - 1) + by + hits.length) % hits.length;
    setHit(next);
    goTo(hits[next] ?? 0);
  };
  const onSearchKey = (event: KeyboardEvent) => {
    if (event.key !== 'Enter') return;
    event.preventDefault();
    if (focusLine < 0 && current !== undefined) goTo(current);
    else step(event.shiftKey ? -1 : 1);
  };
  const onScroll = () => {
    const element = viewport.current;
    if (element === null || Date.now() - ownScroll.current < 250) return;
    setFollow(element.scrollHeight - element.scrollTop - element.clientHeight < 24);
  };

  return (
    <div className={classes.frame}>
      <Group className={classes.bar} gap={4} wrap="wrap">
        <TextInput
          size="xs"
          className={classes.search}
          placeholder="Search the log"
          aria-label="Search the log"
          value={needle}
          leftSection={<IconSearch size={13} aria-hidden />}
          onChange={(event) => {
            setNeedle(event.currentTarget.value);
            setHit(0);
            setFocusLine(-1);
          }}
          onKeyDown={onSearchKey}
        />
        {wanted !== '' && (
          <>
            <Text size="xs" c="dimmed" role="status">
              {hits.length === 0 ? 'no match' : `${Math.min(hit, hits.length - 1) + 1} / ${hits.length}`}
            </Text>
            <Tool label="Previous match" onClick={() => step(-1)}><IconChevronUp size={15} aria-hidden /></Tool>
            <Tool label="Next match" onClick={() => step(1)}><IconChevronDown size={15} aria-hidden /></Tool>
          </>
        )}
        <Group gap={2} ml="auto" wrap="nowrap">
          <Tool
            label={buffer.firstError < 0 ? 'No error seen so far' : 'Jump to the first error'}
            disabled={buffer.firstError < 0}
            onClick={() => goTo(buffer.firstError)}
          >
            <IconAlertCircle size={15} aria-hidden />
          </Tool>
          <Tool label="Show timestamps" pressed={stamps} onClick={() => setStamps(!stamps)}><IconClock size={15} aria-hidden /></Tool>
          <Tool label="Wrap long lines" pressed={wrap} onClick={() => setWrap(!wrap)}><IconTextWrap size={15} aria-hidden /></Tool>
          <Tool label="Follow the end" pressed={follow} onClick={() => setFollow(!follow)}><IconArrowBarToDown size={15} aria-hidden /></Tool>
          <Tooltip label="Download">
            <ActionIcon component="a" href={logPath(namespace, pod, false, container)} download={`${pod}.log`} size="sm" aria-label="Download the log">
              <IconDownload size={15} aria-hidden />
            </ActionIcon>
          </Tooltip>
        </Group>
      </Group>
      <div ref={viewport} className={classes.viewport} onScroll={onScroll} tabIndex={0} role="log" aria-live="off" aria-label={`Log of ${pod}`} data-wrap={wrap || undefined}>
        {lines === 0 ? (
          <Text size="sm" p="sm" className={classes.note}>{emptyNote(phase, error)}</Text>
        ) : (
          <div style={{ height: virtual.getTotalSize(), position: 'relative', minWidth: wrap ? undefined : 'max-content' }}>
            <div style={{ transform: `translateY(${virtual.getVirtualItems()[0]?.start ?? 0}px)` }}>
              {virtual.getVirtualItems().map((item) => {
                const line = splitStamp(buffer.lines[item.index] ?? '');
                const text = clean(line.text);
                return (
                  <div
                    key={item.key}
                    ref={wrap ? virtual.measureElement : undefined}
                    data-index={item.index}
                    className={classes.line}
                    data-error={looksLikeError(text) || undefined}
                    data-focus={item.index === focusLine || undefined}
                  >
                    <span className={classes.number} aria-hidden>{item.index + 1}</span>
                    {stamps && <span className={classes.stamp}>{line.stamp?.slice(11, 23) ?? ''}</span>}
                    <span className={classes.text}>{marked(text, wanted)}</span>
                  </div>
                );
              })}
            </div>
          </div>
        )}
      </div>
      <Group className={classes.foot} gap="xs">
        {(phase === 'following' || phase === 'loading') && <Loader size={10} />}
        <Text size="xs" c="dimmed">
          {plural(lines, 'line')}, {bytes(buffer.bytes)} · {phaseWord(phase)}
        </Text>
      </Group>
    </div>
  );
}

function Tool({ label, pressed, disabled, onClick, children }: { label: string; pressed?: boolean; disabled?: boolean; onClick: () => void; children: ReactNode }) {
  return (
    <Tooltip label={label}>
      <ActionIcon
        size="sm"
        variant={pressed === true ? 'light' : 'subtle'}
        color={pressed === true ? 'accent' : 'gray'}
        aria-label={label}
        aria-pressed={pressed}
        disabled={disabled}
        onClick={onClick}
      >
        {children}
      </ActionIcon>
    </Tooltip>
  );
}

function marked(text: string, needle: string): ReactNode {
  if (needle === '') return text;
  const parts: ReactNode[] = [];
  const lower = text.toLowerCase();
  const wanted = needle.toLowerCase();
  let from = 0;
  for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, from)) {
    parts.push(text.slice(from, at), <mark key={at}>{text.slice(at, at + wanted.length)}</mark>);
    from = at + wanted.length;
  }
  parts.push(text.slice(from));
  return parts;
}

function phaseWord(phase: string): string {
  if (phase === 'following') return 'live';
  if (phase === 'waiting') return 'waiting for the container';
  if (phase === 'ended') return 'complete';
  return phase === 'error' ? 'not available' : 'loading';
}

function emptyNote(phase: string, error: string | undefined): string {
  if (phase === 'error') return `There is no log to show: ${error ?? 'it could not be read'}`;
  if (phase === 'ended') return 'This step wrote nothing.';
  return phase === 'waiting' ? 'Waiting for the container to start…' : 'Waiting for the first line…';
}
