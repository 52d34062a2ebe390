// <iv-studio> has several parts, so it is a folder of modules; whether this file is loaded as one or not. Its look is studio.css.

import("./studio/element.js");
