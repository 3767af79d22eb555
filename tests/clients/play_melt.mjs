import * as scenes from './melt.mjs';
import { perform } from './stage.mjs';

await perform(scenes);
