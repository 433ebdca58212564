"""`whymatch units report`: the audit of a network's units as a folder of HTML pages."""
