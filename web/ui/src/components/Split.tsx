// A main part and, when there is one, a side part: beside it on a wide screen, over it on a narrow one.
import type { ReactNode } from 'react';
import classes from './Split.module.css';

export function Split({ main, side }: { main: ReactNode; side?: ReactNode }) {
  return (
    <div className={`kf-card ${classes.split}`}>
      <div className={classes.main}>{main}</div>
      {side !== undefined && <div className={classes.side}>{side}</div>}
    </div>
  );
}
