// The kinds of task a graph shows, as icon and words.
import { IconArrowsSplit, IconBox, IconDoorExit, IconRepeat, IconSubtask, type TablerIcon } from '@tabler/icons-react';
import type { TaskKind } from '../lib/ir';

export const kindIcons: Record<TaskKind, TablerIcon> = {
  step: IconBox,
  condition: IconArrowsSplit,
  exit: IconDoorExit,
  loop: IconRepeat,
  dag: IconSubtask,
};

export const kindWords: Record<TaskKind, string> = {
  step: 'Step',
  condition: 'Condition',
  exit: 'Exit handler group',
  loop: 'Loop',
  dag: 'Sub-pipeline',
};
