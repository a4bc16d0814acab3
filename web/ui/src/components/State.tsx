// A state as word, icon and colour, the same everywhere.
import {
  IconBan,
  IconCircleCheck,
  IconCircleDashed,
  IconCircleX,
  IconClockHour4,
  IconHistory,
  IconLoader2,
  type TablerIcon,
} from '@tabler/icons-react';
import { look, type Tone } from '../lib/state';
import classes from './State.module.css';

const icons: Record<Tone, TablerIcon> = {
  ok: IconCircleCheck,
  bad: IconCircleX,
  run: IconLoader2,
  wait: IconClockHour4,
  off: IconCircleDashed,
  cached: IconHistory,
};

export function StateIcon({ state, size = 16 }: { state: string | undefined; size?: number }) {
  const { tone } = look(state);
  const Icon = state === 'CANCELED' ? IconBan : icons[tone];
  return (
    <Icon
      size={size}
      stroke={1.9}
      aria-hidden
      className={tone === 'run' ? 'kf-spin' : undefined}
      style={{ color: `var(--kf-${tone})`, flex: 'none', display: 'block' }}
    />
  );
}

export function StateBadge({ state, large = false }: { state: string | undefined; large?: boolean }) {
  const { word, tone } = look(state);
  return (
    <span className={classes.badge} data-tone={tone} data-large={large || undefined} data-state={state}>
      <StateIcon state={state} size={large ? 16 : 14} />
      {word}
    </span>
  );
}
