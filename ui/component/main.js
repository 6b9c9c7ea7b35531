import { mounting } from './mount.js';
import { NetworkView } from './view.js';

export default mounting((parent, data) => new NetworkView(parent, data.cfg));
