// What browsers know of inputs and React's types do not.
import 'react';

declare module 'react' {
  // eslint-disable-next-line @typescript-eslint/no-unused-vars -- the declaration that it adds to has it
  interface InputHTMLAttributes<T> {
    /** Choose a folder with all below it. */
    webkitdirectory?: string;
  }
}
