"""ST Edge AI Core, installed on this computer: finding it, its command lines, its reports."""
